// What can be wrong with a page or a browser, in one sentence each.

const KEYS = ["model", "bytes", "sha256", "categories", "offsets", "style", "minScore", "maxPixels", "description"];
export const AGAIN = "ask the owner of this page to upload its whole folder again";
const TOO_OLD = "This browser has no WebAssembly with SIMD; use a newer one.";
// A tiny program of SIMD, which browsers without it do not accept.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

function problemOfBrowser() {
  const supported = typeof WebAssembly === "object" && WebAssembly.validate(Uint8Array.from(SIMD));
  return supported ? null : TOO_OLD;
}

function problemOfConfig(config) {
  const missing = KEYS.find((key) => config?.[key] === undefined);
  if (missing) return `config.json has no "${missing}"; ${AGAIN}.`;
  const { categories } = config;
  const good = (category) => typeof category?.name === "string" && category.color?.length === 3;
  if (Array.isArray(categories) && categories.length && categories.every(good)) return null;
  return `config.json has no name or colour of a class in "categories"; ${AGAIN}.`;
}

// What config.json says, or why this page cannot work.
export async function readConfig() {
  let config;
  try {
    const answer = await fetch("config.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    config = await answer.json();
  } catch (error) {
    return { problem: `config.json cannot be read (${error.message}); ${AGAIN}.` };
  }
  const problem = problemOfBrowser() ?? problemOfConfig(config);
  return { config, problem };
}

// What browsers and ONNX Runtime say when memory is short.
const NO_MEMORY =
  /out of memory|(could not|cannot|not|failed to) (be )?allocate|bad_alloc|AllocateRaw|smaller than requested|allocation failed|array length|memory access out of bounds|\bOOM\b|SafeInt/i;
// And when the file of WebAssembly did not arrive, but a page that says so.
const NO_FILE = /no available backend.*(fetch|404|magic word|asynchronously prepare)/is;

// Of an image that could not be decoded, or a result that could not be shown.
export function problemOfImage(name, error) {
  if (error instanceof RangeError || NO_MEMORY.test(error?.message)) {
    return `This browser has too little memory for ${name}; give a smaller image.`;
  }
  return `${name} cannot be read as an image by this browser; give a PNG or JPEG.`;
}

// Of a model that could not be loaded (a sentence already, if it was not as it should be) or run.
export function problemOfModel({ message, told, stage }) {
  if (told) return message;
  if (NO_MEMORY.test(message)) {
    return stage === "loading"
      ? "This browser has too little memory for the model; close other pages, or use another computer."
      : "This browser has too little memory for an image of this size; give a smaller one.";
  }
  if (NO_FILE.test(message)) return `A file of this page is missing; ${AGAIN}.`;
  return `The model failed in this browser (${message.slice(0, 200)}); reload the page, or use a newer browser.`;
}
