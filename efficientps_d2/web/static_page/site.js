// The page: takes images, has worker.js predict them, and shows the result.
import { viewer } from "./viewer.js";

const find = (selector) => document.querySelector(selector);
const config = await (await fetch("config.json", { cache: "no-store" })).json();
const props = { value: null };
let showValue;
viewer(find("#viewer"), props, (_, show) => (showValue = show));

const names = config.categories.map(({ name }) => name);
const listed = names.slice(0, 20).join(", ") + (names.length > 20 ? ", …" : "");
find("#model").textContent = `The model knows ${names.length} classes: ${listed}.`;

// A tiny program of SIMD, which browsers without it do not accept.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
const supported = typeof WebAssembly === "object" && WebAssembly.validate(Uint8Array.from(SIMD));
const TOO_OLD = "This browser has no WebAssembly with SIMD; use a newer one.";
const NO_MEMORY = "This browser has too little memory for an image of this size; give a smaller one.";

function show(value) {
  props.value = value;
  showValue();
}

function progress(text, share) {
  const bar = find("progress");
  find("#progress").hidden = !text;
  find("#progress span").textContent = text ?? "";
  if (share === undefined) bar.removeAttribute("value");
  else bar.value = share;
}

let worker = null;
let waiting = null; // the promise of the answer that is computed

// Asks the worker what the network says; a worker that failed is replaced by a new one.
function ask(image) {
  worker ??= new Worker("worker.js", { type: "module" });
  return new Promise((resolve, reject) => {
    let begun = 0;
    const clock = setInterval(() => {
      if (begun) progress(`Predicting, ${((performance.now() - begun) / 1000).toFixed(0)} s`);
    }, 500);
    const fail = (message) => {
      clearInterval(clock);
      worker?.terminate(); // its memory may be used up
      worker = null;
      reject(new Error(message || "its worker ended"));
    };
    worker.onmessage = ({ data }) => {
      if (data.begun) begun = performance.now();
      else if (data.loaded) progress(`Loading the model, ${(data.loaded / 1e6).toFixed(1)} MB`, data.loaded / config.bytes);
      else if (data.error) fail(data.error);
      else if (data.value) {
        clearInterval(clock);
        resolve({ ...data.value, image: URL.createObjectURL(data.value.image) });
      }
    };
    worker.onerror = ({ message }) => fail(message);
    worker.onmessageerror = () => fail("its answer cannot be read");
    worker.postMessage({ image, config }, [image.pixels.buffer]);
  });
}

const sentence = (message) =>
  /memory|allocat|range|OOM|bad_alloc/i.test(message)
    ? NO_MEMORY
    : `The model failed in this browser (${message.slice(0, 200)}).`;

// RGB of a file: upright, without colour management, made smaller if it is too large.
async function decode(file) {
  const bitmap = await createImageBitmap(file, {
    imageOrientation: "from-image",
    colorSpaceConversion: "none",
    premultiplyAlpha: "none",
  });
  const scale = Math.min(1, Math.sqrt(config.maxPixels / (bitmap.width * bitmap.height)));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.floor(side * scale)));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  const pixels = new Uint8Array(3 * width * height);
  for (let i = 0, j = 0; i < data.length; i += 4) {
    pixels[j++] = data[i];
    pixels[j++] = data[i + 1];
    pixels[j++] = data[i + 2];
  }
  const smaller = scale < 1 ? ", made smaller" : "";
  return { name: file.name, title: file.name + smaller, width, height, pixels };
}

async function predict(file) {
  if (!supported) return { problem: TOO_OLD };
  let image;
  try {
    image = await decode(file);
  } catch {
    return { problem: `${file.name} cannot be read as an image by this browser; give a PNG or JPEG.` };
  }
  try {
    progress("Loading the model");
    return await ask(image);
  } catch (error) {
    return { problem: sentence(String(error.message ?? error)) };
  } finally {
    progress(null);
  }
}

// One after the other; of several that wait, the last.
async function take(file) {
  if (!file) return;
  const mine = (take.turn = (take.turn ?? 0) + 1);
  await waiting;
  if (mine !== take.turn) return;
  if (props.value?.image) URL.revokeObjectURL(props.value.image);
  show(null);
  waiting = predict(file).then(show);
}

const drop = find("#drop");
drop.querySelector("input").addEventListener("change", (event) => {
  take(event.target.files[0]);
  event.target.value = ""; // the same file may be chosen again
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  window.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files[0]);
  });
}
window.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
find("#asleep").hidden = true;
drop.hidden = false;
