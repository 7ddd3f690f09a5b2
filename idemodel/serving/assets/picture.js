// The photo with its two eye points, which a person can move, and the divider between two pictures.

const STEP = 1, FAR = 10;
const APART = 40; // CSS pixels between the centres of two targets that a finger tells apart: their size
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class EyePoints {
  // picture: the box around the image; moved: called when a person has moved a point
  constructor(picture, left, right, moved) {
    this.picture = picture;
    this.points = { left, right };
    this.moved = moved;
    this.size = { width: 1, height: 1 };
    this.eyes = null;
    for (const side of ["left", "right"]) this.#listen(side);
    new ResizeObserver(() => this.eyes && this.#spread()).observe(picture);
  }

  show(eyes, size) {
    this.size = size;
    this.eyes = { left: { ...eyes.left }, right: { ...eyes.right } };
    for (const side of ["left", "right"]) this.#place(side);
  }

  // what the interface takes: LEFT_X,LEFT_Y,RIGHT_X,RIGHT_Y, the left one being left in the picture
  get text() {
    const { left, right } = this.eyes;
    const [first, second] = left.x <= right.x ? [left, right] : [right, left];
    return [first.x, first.y, second.x, second.y].map((number) => number.toFixed(2)).join(",");
  }

  #place(side) {
    const { x, y } = this.eyes[side];
    const button = this.points[side];
    button.style.left = `${((x + 0.5) / this.size.width) * 100}%`;
    button.style.top = `${((y + 0.5) / this.size.height) * 100}%`;
    button.setAttribute("aria-label", `Eye on the ${side} of the picture: column ${Math.round(x)}, row ${Math.round(y)}`);
    this.#spread();
  }

  // where the eyes are near each other, what is grabbed moves away from the middle of them; the rings stay on the eyes
  #spread() {
    const { left, right } = this.eyes, { clientWidth, clientHeight } = this.picture;
    const x = ((right.x - left.x) / this.size.width) * clientWidth, y = ((right.y - left.y) / this.size.height) * clientHeight;
    const apart = Math.hypot(x, y), by = Math.max(0, APART - apart) / 2;
    const [alongX, alongY] = apart ? [x / apart, y / apart] : [1, 0];
    for (const [side, sign] of [["left", -1], ["right", 1]]) {
      this.points[side].style.setProperty("--away-x", `${sign * by * alongX}px`);
      this.points[side].style.setProperty("--away-y", `${sign * by * alongY}px`);
    }
  }

  #move(side, x, y) {
    const within = (value, most) => Math.min(Math.max(value, 0), most - 1);
    this.eyes[side] = { x: within(x, this.size.width), y: within(y, this.size.height) };
    this.#place(side);
  }

  #listen(side) {
    const button = this.points[side];
    let dragged = false, from = null; // where the pointer and the eye were
    button.addEventListener("pointerdown", (event) => {
      button.setPointerCapture(event.pointerId);
      dragged = false;
      from = { x: event.clientX, y: event.clientY, eye: { ...this.eyes[side] } };
    });
    button.addEventListener("pointermove", (event) => {
      if (!button.hasPointerCapture(event.pointerId)) return;
      dragged = true;
      const box = this.picture.getBoundingClientRect();
      const x = ((event.clientX - from.x) / box.width) * this.size.width;
      const y = ((event.clientY - from.y) / box.height) * this.size.height;
      this.#move(side, from.eye.x + x, from.eye.y + y); // by as much as the pointer: it need not be on the eye
    });
    button.addEventListener("pointerup", () => dragged && this.moved());
    button.addEventListener("keydown", (event) => {
      const way = ARROWS[event.key];
      if (!way) return;
      event.preventDefault();
      const pixel = Math.max(1, this.size.width / this.picture.clientWidth) * (event.shiftKey ? FAR : STEP);
      const { x, y } = this.eyes[side];
      this.#move(side, x + way[0] * pixel, y + way[1] * pixel);
      this.moved();
    });
  }
}

export class Divider {
  // two pictures over each other, the second shown right of the divider
  constructor(box, under, over, slider, choices, named) {
    this.box = box;
    this.named = named; // what a picture is called
    this.pictures = [under, over];
    this.choices = choices;
    this.sources = {};
    slider.addEventListener("input", () => box.style.setProperty("--at", `${slider.value}%`));
    for (const choice of choices) choice.addEventListener("change", () => this.#show());
  }

  show(sources) {
    this.sources = sources;
    this.#show();
  }

  #show() {
    this.choices.forEach((choice, index) => {
      const name = choice.value, picture = this.pictures[index];
      picture.src = this.sources[name];
      picture.alt = `${index ? "Right" : "Left"} of the divider: ${this.named(name)}`;
    });
  }
}
