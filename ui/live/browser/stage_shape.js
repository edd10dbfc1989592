// Geometry of the stage: photo pixels to the screen and back, rectangles and their handles.

export const HANDLES = [
  [0, 0, "nwse"], [0.5, 0, "ns"], [1, 0, "nesw"], [1, 0.5, "ew"],
  [1, 1, "nwse"], [0.5, 1, "ns"], [0, 1, "nesw"], [0, 0.5, "ew"],
];

// Small boxes have handles at their corners alone, so that there is room to take hold of them.
export function handlesOf(view, [x1, y1, x2, y2]) {
  const room = [(x2 - x1) * view.sx, (y2 - y1) * view.sy];
  return HANDLES.filter(([hx, hy]) => (hx !== 0.5 || room[0] > 44) && (hy !== 0.5 || room[1] > 44));
}

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// How a photo of `size` lies in the room there is: css pixels, and device pixels per css pixel.
export function fit([width, height], margin, room, tallest, ratio) {
  const full = [width * (1 + 2 * margin), height * (1 + 2 * margin)];
  const scale = Math.min(room / full[0], tallest / full[1]);
  const shown = full.map((side) => Math.max(Math.round(side * scale), 8));
  const sx = shown[0] / full[0];
  const sy = shown[1] / full[1];
  return {
    width: shown[0], height: shown[1], ratio,
    sx, sy, left: margin * width * sx, top: margin * height * sy,
  };
}

export const toScreen = (view, x, y) => [view.left + x * view.sx, view.top + y * view.sy];
export const toPhoto = (view, x, y) => [(x - view.left) / view.sx, (y - view.top) / view.sy];

export const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
export const inside = ([x1, y1, x2, y2], [x, y], slack = [0, 0]) =>
  x >= x1 - slack[0] && x <= x2 + slack[0] && y >= y1 - slack[1] && y <= y2 + slack[1];

export function between(from, to, [width, height]) {
  const xs = [from[0], to[0]].map((x) => clamp(x, 0, width)).sort((a, b) => a - b);
  const ys = [from[1], to[1]].map((y) => clamp(y, 0, height)).sort((a, b) => a - b);
  return [xs[0], ys[0], xs[1], ys[1]];
}

export function moved([x1, y1, x2, y2], [dx, dy], [width, height]) {
  const right = clamp(dx, -x1, width - x2);
  const down = clamp(dy, -y1, height - y2);
  return [x1 + right, y1 + down, x2 + right, y2 + down];
}

export function resized([x1, y1, x2, y2], [hx, hy], [dx, dy], [width, height], least) {
  return [
    hx === 0 ? clamp(x1 + dx, 0, x2 - least[0]) : x1,
    hy === 0 ? clamp(y1 + dy, 0, y2 - least[1]) : y1,
    hx === 1 ? clamp(x2 + dx, x1 + least[0], width) : x2,
    hy === 1 ? clamp(y2 + dy, y1 + least[1], height) : y2,
  ];
}

export const middle = ([x1, y1, x2, y2]) => [(x1 + x2) / 2, (y1 + y2) / 2];

// How many rows and columns of a grid of `rows` by `columns` over `extent` lie before a point.
function before({ rows, columns, extent: [x1, y1, x2, y2] }, [x, y]) {
  return [((y - y1) / (y2 - y1)) * rows, ((x - x1) / (x2 - x1)) * columns];
}

// The cell that holds the point, or null.
export function cellAt(grid, point) {
  const { rows, columns } = grid;
  const [row, column] = before(grid, point).map(Math.floor);
  const outside = column < 0 || row < 0 || column >= columns || row >= rows;
  return outside ? null : row * columns + column;
}

// The cell whose middle is nearest to the point, of equal ones the first.
export function nearestCell(grid, point) {
  const { rows, columns } = grid;
  const [row, column] = before(grid, point).map((count) => Math.ceil(count) - 1);
  return clamp(row, 0, rows - 1) * columns + clamp(column, 0, columns - 1);
}

export function cellBox({ rows, columns, extent: [x1, y1, x2, y2] }, cell) {
  const width = (x2 - x1) / columns;
  const height = (y2 - y1) / rows;
  const column = cell % columns;
  const row = Math.floor(cell / columns);
  return [x1 + column * width, y1 + row * height, x1 + (column + 1) * width, y1 + (row + 1) * height];
}
