// The stage as a PNG at twice its size, with its colour bars below.
import { download } from "./shared.js";
import { hasBar, paintBar } from "./stage_paint.js";
import { clamp } from "./stage_shape.js";
import { number } from "./stage_words.js";

const SCALE = 2;
const STRIP = 34; // css pixels for a colour bar
const GHOST = 0.35;

export async function savePicture(stage, name) {
  const bars = stage.layers.filter(hasBar);
  const view = { ...stage.view, ratio: SCALE };
  const sheet = (height) => new OffscreenCanvas(SCALE * view.width, SCALE * height);
  const canvas = sheet(view.height + STRIP * bars.length);
  const ctx = canvas.getContext("2d");
  for (const layer of ["paintPhoto", "paintGhost", "paintScene", "paintTop"]) {
    const own = sheet(view.height);
    stage[layer](own.getContext("2d"), view);
    ctx.globalAlpha = layer === "paintGhost" ? GHOST : 1;
    ctx.drawImage(own, 0, 0);
  }
  bars.forEach((bar, row) => drawBar(ctx, stage.style, bar, SCALE * (view.height + STRIP * row)));
  const link = URL.createObjectURL(await canvas.convertToBlob({ type: "image/png" }));
  download(`${name}.png`, link);
  setTimeout(() => URL.revokeObjectURL(link), 60_000);
}

function drawBar(ctx, style, layer, y) {
  const middle = y + (SCALE * STRIP) / 2;
  ctx.fillStyle = style.background;
  ctx.fillRect(0, y, ctx.canvas.width, SCALE * STRIP);
  ctx.font = `${12 * SCALE}px ${style.font}`;
  ctx.textBaseline = "middle";
  let x = 8 * SCALE;
  const write = (text) => {
    ctx.fillStyle = style.text;
    ctx.fillText(text, x, middle);
    x += ctx.measureText(text).width + 10 * SCALE;
  };
  write(layer.label);
  write(number(layer.low));
  const width = Math.round(clamp(ctx.canvas.width - x - 70 * SCALE, 30 * SCALE, 180 * SCALE));
  paintBar(ctx, layer, x, middle - 4 * SCALE, width, 8 * SCALE);
  x += width + 10 * SCALE;
  write(number(layer.high));
}
