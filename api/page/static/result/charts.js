/** The two charts of a result: the verdict's gauge and the sales behind a price. */

import { h, s } from "../dom.js";
import { day, money } from "./words.js";

/**
 * A half circle from 0 (counterfeit) to 100 (genuine) for an AUTHENTICATION_RESULT; the band around the knob is wider
 * the lower the confidence. Null draws an empty gauge of the same size.
 */
export function gauge(packet) {
  const point = (value, radius) => {
    const angle = Math.PI * (1 - value / 100);
    return [70 + radius * Math.cos(angle), 70 - radius * Math.sin(angle)].map((one) => one.toFixed(2));
  };
  const arc = (from, to, radius) =>
    `M ${point(from, radius).join(" ")} A ${radius} ${radius} 0 0 1 ${point(to, radius).join(" ")}`;
  const track = s("path", { d: arc(0, 100, 58), class: "gauge-track" });
  if (!packet) return s("svg", { viewBox: "0 0 140 84", class: "gauge", "aria-hidden": "true" }, track);
  const { authenticityRating: rating, confidence, verdict } = packet;
  const spread = 25 * (1 - confidence);
  const [x, y] = point(rating, 58);
  return s("svg",
    { viewBox: "0 0 140 84", class: "gauge", role: "img", "data-verdict": verdict,
      "aria-label": `Rating ${rating} of 100, where 0 is counterfeit and 100 genuine; confidence ${Math.round(confidence * 100)} percent` },
    track,
    s("path", { d: arc(0, rating, 58), class: "gauge-fill" }),
    s("path", { d: arc(Math.max(0, rating - spread), Math.min(100, rating + spread), 58), class: "gauge-spread" }),
    s("circle", { cx: x, cy: y, r: 7.5, class: "gauge-knob" }),
    s("text", { x: 70, y: 64, class: "gauge-number" }, String(rating)),
    s("text", { x: 70, y: 80, class: "gauge-caption" }, "of 100"));
}

/** The smallest step of 1, 2 or 5 times a power of ten of which at most `most` fit into `range`. */
function step(range, most) {
  const power = 10 ** Math.floor(Math.log10(range / most));
  return [1, 2, 5, 10].map((factor) => factor * power).find((size) => range / size <= most);
}

/** Least number of sales for which the middle half is drawn, and for which it is reliable. */
const [THIN, FIRM] = [3, 10];
const SHAPES = [
  (x, y) => s("circle", { cx: x, cy: y, r: 5 }),
  (x, y) => s("rect", { x: x - 4.5, y: y - 4.5, width: 9, height: 9 }),
  (x, y) => s("path", { d: `M${x} ${y - 6}l6 6-6 6-6-6z` }),
  (x, y) => s("path", { d: `M${x} ${y - 6}l6 10h-12z` }),
];
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [420, 220, 52, 12, 14, 30];

/**
 * Sold prices by date, a shape for each condition, the middle half as a band and the median as a line. A
 * touched sale is described below the chart. `sales`: [{soldAt, price, condition}]. Few sales are drawn hollow, without
 * a band.
 */
export function priceChart(sales, estimate) {
  const currency = estimate?.currency ?? sales[0]?.currency ?? "";
  const rows = sales
    .map((sale) => ({ at: Date.parse(sale.soldAt), price: Number(sale.price), condition: sale.condition || "not stated" }))
    .filter(({ at, price }) => Number.isFinite(at) && price > 0)
    .sort((a, b) => a.at - b.at);
  if (!rows.length) return null;
  const firm = rows.length >= FIRM;
  const conditions = [...new Set(rows.map((row) => row.condition))].slice(0, SHAPES.length);
  const [y, ticks] = priceAxis(rows.map((row) => row.price).concat(estimate ? [estimate.low, estimate.high] : []));
  const [x, dates] = timeAxis(rows[0].at, rows.at(-1).at);
  const told = h("p", { class: "told", "aria-live": "off" }, firm ? "Touch a sale to read it." : `Only ${rows.length === 1 ? "one sale" : `${rows.length} sales`}: a rough guide.`);
  const marks = rows.map((row) => {
    const mark = SHAPES[Math.max(0, conditions.indexOf(row.condition))](x(row.at), y(row.price));
    mark.setAttribute("class", `sale tone-${Math.max(0, conditions.indexOf(row.condition))}`);
    return mark;
  });
  const crosshair = s("line", { y1: TOP, y2: HEIGHT - BOTTOM, class: "crosshair", visibility: "hidden" });
  const svg = s("svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: `price-chart${firm ? "" : " thin"}`, role: "img",
      "aria-label": `${rows.length} sales from ${day(rows[0].at)} to ${day(rows.at(-1).at)}, ${money(Math.min(...rows.map((row) => row.price)), currency)} to ${money(Math.max(...rows.map((row) => row.price)), currency)}` },
    ticks.flatMap((price) => [
      s("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(price), y2: y(price), class: "grid-line" }),
      s("text", { x: LEFT - 8, y: y(price) + 4, class: "axis end" }, whole(price, currency)),
    ]),
    dates.map(([at, text, anchor]) => s("text", { x: x(at), y: HEIGHT - 8, class: `axis ${anchor}` }, text)),
    estimate && rows.length >= THIN && s("rect", { x: LEFT, width: WIDTH - LEFT - RIGHT, y: y(estimate.high),
      height: Math.max(1, y(estimate.low) - y(estimate.high)), class: "band" }),
    estimate && s("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(estimate.median), y2: y(estimate.median), class: "median" }),
    crosshair, marks);
  const tell = (event) => {
    const { left, width } = svg.getBoundingClientRect();
    const here = ((event.clientX - left) / width) * WIDTH;
    const nearest = rows.reduce((best, row, index) => (Math.abs(x(row.at) - here) < Math.abs(x(rows[best].at) - here) ? index : best), 0);
    const row = rows[nearest];
    marks.forEach((mark, index) => mark.classList.toggle("touched", index === nearest));
    crosshair.setAttribute("x1", x(row.at));
    crosshair.setAttribute("x2", x(row.at));
    crosshair.setAttribute("visibility", "visible");
    told.textContent = `${day(row.at)}: ${money(row.price, currency)}, ${row.condition}`;
  };
  svg.addEventListener("pointermove", tell);
  svg.addEventListener("pointerdown", tell);
  return h("figure", { class: "chart" }, svg, told,
    h("ul", { class: "legend", "aria-label": "Condition" }, conditions.map((condition, index) =>
      h("li", {}, legendMark(index), condition, ` (${rows.filter((row) => row.condition === condition).length})`))),
    h("details", {}, h("summary", {}, `All sales shown (${rows.length})`), table(rows, currency)));
}

function legendMark(index) {
  const mark = SHAPES[index](8, 8);
  mark.setAttribute("class", `sale tone-${index}`);
  return s("svg", { viewBox: "0 0 16 16", class: "legend-mark", "aria-hidden": "true" }, mark);
}

function table(rows, currency) {
  return h("table", {}, h("thead", {}, h("tr", {}, ["Sold", "Price", "Condition"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, [...rows].reverse().map((row) => h("tr", {}, h("td", {}, day(row.at)), h("td", {}, money(row.price, currency)), h("td", {}, row.condition)))));
}

/** Price axis from a round price below the lowest to one above the highest; from zero if that is near. */
function priceAxis(prices) {
  const [lowest, highest] = [Math.min(...prices), Math.max(...prices)];
  const size = step(Math.max(highest - lowest, highest * 0.2), 4);
  const bottom = lowest < highest / 3 ? 0 : size * Math.floor((lowest - size * 0.05) / size);
  const top = size * Math.ceil((highest + size * 0.05) / size);
  const y = (price) => HEIGHT - BOTTOM - ((price - bottom) / (top - bottom)) * (HEIGHT - BOTTOM - TOP);
  return [y, Array.from({ length: Math.round((top - bottom) / size) + 1 }, (_, index) => bottom + index * size)];
}

/** Time axis of at least a month, with a date at each end and months between. */
function timeAxis(first, last) {
  const month = 30 * 86_400_000;
  const missing = Math.max(0, month - (last - first)) / 2;
  const [from, to] = [first - missing, last + missing];
  const x = (at) => LEFT + 10 + ((at - from) / (to - from)) * (WIDTH - LEFT - RIGHT - 20);
  const short = (at) => new Date(at).toLocaleDateString(undefined, { month: "short", year: "2-digit", timeZone: "UTC" });
  if (last - first < 2 * month) return [x, last === first ? [[first, day(first), "middle"]] : [[first, day(first), "start"], [last, day(last), "end"]]];
  return [x, [0, 1, 2, 3].map((index) => first + (index * (last - first)) / 3).map((at, index) => [at, short(at), ["start", "middle", "middle", "end"][index]])];
}

const whole = (value, currency) => {
  try {
    const digits = value && value < 1 ? 2 : Number.isInteger(value) ? 0 : 1;
    const style = { style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits };
    return new Intl.NumberFormat(undefined, style).format(value);
  } catch {
    return String(value);
  }
};
