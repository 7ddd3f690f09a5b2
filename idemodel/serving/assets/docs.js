// Swagger UI on this server's own description; validatorUrl is off, since it would ask another server.
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#docs", validatorUrl: null, deepLinking: true });
