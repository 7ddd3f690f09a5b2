// The page: a photo in, faces and eyes shown, a sketch out. It asks nobody but the server it came from.
import { Divider, EyePoints } from "/assets/picture.js";

const element = (id) => document.getElementById(id);
const TRIES = 6, PAUSE = 350; // tries when the server is busy; ms after the last change before it is asked

const words = { source: "photo", target: "sketch" }; // what is given, what is made
const state = { photo: null, name: "photo.png", faces: [], face: null, moved: false, urls: [], asked: null, info: null };
const eyes = new EyePoints(element("picture"), element("left-eye"), element("right-eye"), () => {
  state.moved = true;
  element("reset-eyes").disabled = false;
  soon();
});
const divider = new Divider(element("compare"), element("under"), element("over"), element("divider"), [
  element("left-of"), element("right-of"),
], (name) => (name === "photo" ? `the ${words.source}` : `the ${name} ${words.target}`));

// ---- the server

function token() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token");
}

class Problem extends Error {}

async function ask(path, form, signal) {
  const secret = token();
  const headers = { accept: "application/json", ...(secret ? { authorization: `Bearer ${secret}` } : {}) };
  for (let tried = 1; ; tried += 1) {
    let answer;
    try {
      answer = await fetch(path, { method: form ? "POST" : "GET", body: form, headers, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("The server cannot be reached; is it still running?");
    }
    if (answer.ok) return answer.json();
    const told = await answer.json().catch(() => ({ detail: `the server answered ${answer.status}` }));
    if (answer.status === 401) element("ask-token").hidden = false;
    if (answer.status !== 429 || tried === TRIES) throw new Problem(told.detail);
    const seconds = Number(answer.headers.get("retry-after")) || 1;
    say(`The server is busy; trying again in ${seconds} s.`);
    await pause(seconds * 1000, signal);
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("given up", "AbortError"));
    });
  });
}

// ---- what a person sees

function capital(text) { return text && text[0].toUpperCase() + text.slice(1); }
function inWords(text) {
  return text.replace(/\{(\w+)\}/g, (_, name) => words[name] ?? capital(words[name.toLowerCase()]));
}
// every text of the page that names what is given or made
function tellWords() {
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = inWords(each.dataset.text);
  for (const each of document.querySelectorAll("[data-alt]")) each.alt = inWords(each.dataset.alt);
  for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", inWords(each.dataset.label));
}
function say(text) { element("state").textContent = text; }
// a sentence that begins with the photo's name has that as it is
function complain(text, name = state.name) {
  element("error").textContent = (name && text?.startsWith(`${name}:`) ? text : capital(text)) ?? "";
}

async function working(text, work) {
  state.asked?.abort(); // what was asked before is given up
  const asked = (state.asked = new AbortController());
  say(text);
  complain("");
  document.body.setAttribute("aria-busy", "true");
  try {
    await work(asked.signal);
    if (state.asked === asked) say("");
  } catch (error) {
    if (error.name === "AbortError") return;
    say("");
    complain(error instanceof Problem ? error.message : "Something went wrong on this page.");
    if (!(error instanceof Problem)) console.error(error);
  } finally {
    if (state.asked === asked) document.body.setAttribute("aria-busy", "false");
  }
}

async function take(blob, name) {
  if (state.info && blob.size > state.info.upload) {
    complain(`${name}: is larger than the ${Math.floor(state.info.upload / 2 ** 20)} MiB that are taken; scale it down first`, name);
    return;
  }
  Object.assign(state, { photo: blob, name, faces: [], face: null, moved: false });
  element("go").disabled = false;
  element("result").hidden = true;
  element("face-part").hidden = true;
  await working("Looking for faces …", async (signal) => {
    const found = await ask("/api/faces", form({ preview: "true" }), signal).catch(async (error) => {
      if (error.name === "AbortError" || !/finds faces/.test(error.message)) throw error;
      return null; // no detector: a photo that is aligned already can be sketched all the same
    });
    if (found) showFaces(found);
    if (!found || found.faces.length) await sketch(signal);
  });
}

function showFaces(found) {
  state.faces = found.faces;
  state.size = { width: found.width, height: found.height };
  element("shown").src = `data:image/jpeg;base64,${found.preview}`;
  element("face-part").hidden = false;
  const group = element("faces");
  group.hidden = found.faces.length < 2;
  group.replaceChildren(group.firstElementChild, ...found.faces.map(faceChoice));
  state.face = found.faces.length > 1 ? 1 : null;
  putBack();
  if (!found.faces.length) {
    complain(`${state.name}: ${found.warnings.at(-1)}. Put the two rings on the eyes, and the ${words.target} is made.`);
  }
}

function faceChoice(face) {
  const label = document.createElement("label"), input = document.createElement("input");
  Object.assign(input, { type: "radio", name: "face", value: face.number, checked: face.number === 1 });
  input.addEventListener("change", () => {
    state.face = face.number;
    putBack();
    soon();
  });
  label.append(input, ` number ${face.number}${face.number === 1 ? " (largest)" : ""}`);
  return label;
}

function putBack() {
  const { width, height } = state.size;
  const usual = { left: { x: width * 0.375, y: height / 2 }, right: { x: width * 0.625, y: height / 2 } };
  const face = state.faces[(state.face ?? 1) - 1];
  state.moved = false;
  element("reset-eyes").disabled = true;
  eyes.show(face ? face.eyes : usual, state.size);
}

function form(more) {
  const made = new FormData();
  for (const [name, value] of Object.entries(more)) made.append(name, value);
  made.append("photo", state.photo, state.name);
  return made;
}

function options() {
  const told = Object.fromEntries([...new FormData(element("options"))].filter(([, value]) => value !== ""));
  if (state.moved) told.eyes = eyes.text;
  else if (state.face) told.face = state.face;
  return told;
}

let timer = 0;
function soon() {
  clearTimeout(timer);
  timer = setTimeout(again, PAUSE);
}
function again() {
  const wrong = wrongOption();
  if (wrong) { // nothing is asked, and nothing that was made with other options is left standing
    state.asked?.abort();
    document.body.setAttribute("aria-busy", "false");
    say("");
    element("result").hidden = true;
    complain(wrong);
  } else if (state.photo) working("", sketch);
  else complain("");
}

// a browser gives the text of a field that is no number as if it were empty
function wrongOption() {
  for (const field of element("options").elements) {
    if (field.validity.valid) continue;
    if (field.validity.badInput) return `${field.name} must be a number`;
    if (field.validity.stepMismatch) return `${field.name} must be an integer, not ${field.value}`;
    const range = field.max ? `${field.min} or more and at most ${field.max}` : `${field.min} or more`;
    return `${field.name} must be ${range}, not ${field.value}`;
  }
  return "";
}

async function sketch(signal) {
  say(inWords("Making the {target} …"));
  try {
    show(await ask("/api/sketch", form(options()), signal));
  } catch (error) {
    if (error instanceof Problem) element("result").hidden = true; // it is not what was asked for now
    throw error;
  }
}

function show(made) {
  for (const url of state.urls) URL.revokeObjectURL(url);
  state.urls = [];
  const sources = {};
  for (const name of ["photo", "coarse", "fine", "framed"]) {
    if (!made[name]) continue;
    sources[name] = pictureUrl(made[name]);
    element(name).src = sources[name];
  }
  divider.show(sources);
  element("warnings").hidden = !made.warnings.length;
  element("warnings").replaceChildren(...made.warnings.filter((line) => line.trim()).map((line) => Object.assign(document.createElement("li"), { textContent: line })));
  const stem = state.name.replace(/\.[^.]*$/, "");
  link("download", sources.fine, `${stem}-${words.target}.png`);
  link("download-coarse", sources.coarse, `${stem}-coarse.png`);
  link("download-framed", sources.framed, `${stem}-framed.png`);
  element("framed-part").hidden = !sources.framed;
  element("result").hidden = false;
}

function pictureUrl(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const url = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
  state.urls.push(url);
  return url;
}

function link(id, url, name) {
  const made = element(id);
  made.hidden = !url;
  if (url) Object.assign(made, { href: url, download: name });
}

// ---- ways to give a photo

element("choose").addEventListener("click", () => element("file").click());
element("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) take(file, file.name);
  event.target.value = "";
});

const drop = element("drop");
// a picture of the page is never dragged: moved quickly, an eye point would leave it behind, and drop it as a new photo
document.addEventListener("dragstart", (event) => event.preventDefault());
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => event.relatedTarget || drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) take(file, file.name);
  else complain("That was no file; save the picture first, and drop the file.");
});

document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (file) take(file, file.name || "pasted.png");
});
element("paste").addEventListener("click", async () => {
  try {
    for (const item of await navigator.clipboard.read()) {
      const kind = item.types.find((one) => one.startsWith("image/"));
      if (kind) return take(await item.getType(kind), "pasted.png");
    }
    complain("There is no picture in the clipboard.");
  } catch {
    complain("This browser does not let the page read the clipboard; press Ctrl+V (or ⌘V) instead.");
  }
});

let stream = null;
function closeCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  element("camera-view").hidden = true;
}
element("camera").addEventListener("click", async () => {
  if (!navigator.mediaDevices) { // not over plain HTTP from another machine: a phone's own camera app serves
    element("file").setAttribute("capture", "user");
    element("file").click();
    element("file").removeAttribute("capture");
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } } });
  } catch {
    complain("The camera cannot be used: there is none, or it was not allowed.");
    return;
  }
  element("video").srcObject = stream;
  element("camera-view").hidden = false;
  await element("video").play();
  element("shoot").focus();
});
element("camera-off").addEventListener("click", closeCamera);
element("shoot").addEventListener("click", () => {
  const video = element("video"), canvas = document.createElement("canvas");
  Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => take(blob, "camera.jpg"), "image/jpeg", 0.95);
  closeCamera();
});

element("go").addEventListener("click", again);
element("options").addEventListener("input", soon);
element("options").addEventListener("submit", (event) => event.preventDefault());
element("reset-eyes").addEventListener("click", () => {
  putBack();
  soon();
});
element("ask-token").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", element("token").value.trim());
  element("ask-token").hidden = true;
  begin();
});

// ---- what this server makes

async function begin() {
  await working("", async (signal) => {
    const info = (state.info = await ask("/api/info", null, signal));
    [words.source, words.target] = info.direction.split("-to-");
    tellWords();
    element("about").textContent = words.source === "photo" ? "A photo of a face becomes a pencil sketch." : "A sketch of a face becomes a photo.";
    element("made-of").textContent = `idesketch ${info.version}, ${info.builtin ? "built-in bank" : "bank"} of ${info.pairs} pairs, ${info.width} × ${info.height}.`;
    const { method, alpha, k } = element("options").elements;
    method.replaceChildren(new Option(`as the model was trained (${info.method})`, ""),
      ...info.methods.map((one) => new Option(`${one.name}: ${one.help}`, one.name)));
    alpha.placeholder = info.alpha ?? "";
    Object.assign(k, { placeholder: info.k, max: info.most_k });
  });
}
begin();
