/** The two pictures among the results: the verdict's gauge and the sales behind a price. */

import { s } from "./dom.js";

export const money = (value, currency) => {
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency }).format(value);
  } catch {
    return `${value.toFixed(2)} ${currency}`; // not a currency Intl knows
  }
};

/** A half circle from 0 (counterfeit) to 100 (genuine); the band around the knob widens as confidence falls. */
export function gauge(rating, confidence, verdict) {
  const point = (value, radius) => {
    const angle = Math.PI * (1 - value / 100);
    return [110 + radius * Math.cos(angle), 104 - radius * Math.sin(angle)].map((one) => one.toFixed(2));
  };
  const arc = (from, to, radius) =>
    `M ${point(from, radius).join(" ")} A ${radius} ${radius} 0 0 1 ${point(to, radius).join(" ")}`;
  const spread = 25 * (1 - confidence);
  const low = Math.max(0, rating - spread);
  const high = Math.min(100, rating + spread);
  const [x, y] = point(rating, 86);
  const ticks = [0, 25, 50, 75, 100].map((value) => {
    const [[x1, y1], [x2, y2]] = [point(value, 70), point(value, 75)];
    return s("line", { x1, y1, x2, y2, class: "gauge-tick" });
  });
  return s(
    "svg",
    { viewBox: "-16 0 252 132", class: "gauge", role: "img", "data-verdict": verdict,
      "aria-label": `Rating ${rating} of 100, where 0 is counterfeit and 100 genuine; confidence ${Math.round(confidence * 100)} percent` },
    s("path", { d: arc(0, 100, 86), class: "gauge-track" }),
    s("path", { d: arc(0, rating, 86), class: "gauge-fill" }),
    s("path", { d: arc(low, high, 86), class: "gauge-spread" }),
    ...ticks,
    s("circle", { cx: x, cy: y, r: 10, class: "gauge-knob" }),
    s("text", { x: 110, y: 92, class: "gauge-number" }, String(rating)),
    s("text", { x: 110, y: 108, class: "gauge-caption" }, "of 100"),
    s("text", { x: 24, y: 128, class: "gauge-end" }, "counterfeit"),
    s("text", { x: 196, y: 128, class: "gauge-end" }, "genuine"),
  );
}

/** One, two or five times a power of ten: the finest such step that leaves at most `most` of them in `range`. */
function step(range, most) {
  const power = 10 ** Math.floor(Math.log10(range / most));
  return [1, 2, 5, 10].map((factor) => factor * power).find((size) => range / size <= most);
}

/** Dated sales as dots, the middle half as a band, the median as a line. `sales`: [{soldAt, price, condition}]. */
export function priceChart(sales, estimate) {
  const rows = sales
    .map((sale) => ({ at: Date.parse(sale.soldAt), price: Number(sale.price), condition: sale.condition }))
    .filter(({ at, price }) => Number.isFinite(at) && price > 0);
  if (rows.length < 2) return null;
  const [width, height, left, right, bottom, top] = [340, 190, 52, 12, 28, 12];
  const times = rows.map((row) => row.at);
  const prices = rows.map((row) => row.price).concat(estimate ? [estimate.low, estimate.high] : []);
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const size = step(Math.max(...prices), 4);
  const highest = size * Math.ceil(Math.max(...prices) / size);
  const x = (at) => left + 8 + (last === first ? 0.5 : (at - first) / (last - first)) * (width - left - right - 8);
  const y = (price) => height - bottom - (price / highest) * (height - bottom - top);
  const currency = estimate?.currency ?? sales[0].currency ?? "";
  const day = (at) => new Date(at).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
  const grid = Array.from({ length: Math.round(highest / size) + 1 }, (_, index) => index * size).flatMap((price) => [
    s("line", { x1: left, x2: width - right, y1: y(price), y2: y(price), class: price ? "grid-line" : "axis-line" }),
    s("text", { x: left - 6, y: y(price) + 4, class: "axis end" }, whole(price, currency)),
  ]);
  return s(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, class: "price-chart", role: "img",
      "aria-label": `${rows.length} sales from ${day(first)} to ${day(last)}, ${money(Math.min(...rows.map((row) => row.price)), currency)} to ${money(Math.max(...rows.map((row) => row.price)), currency)}` },
    ...grid,
    estimate && s("rect", { x: left, width: width - left - right, y: y(estimate.high),
      height: Math.max(1, y(estimate.low) - y(estimate.high)), class: "band" }),
    estimate && s("line", { x1: left, x2: width - right, y1: y(estimate.median), y2: y(estimate.median), class: "median" }),
    ...rows.map((row) => s("circle", { cx: x(row.at), cy: y(row.price), r: 5, class: "sale" },
      s("title", {}, [`${day(row.at)}: ${money(row.price, currency)}`, row.condition].filter(Boolean).join(", ")))),
    s("text", { x: left, y: height - 8, class: "axis" }, day(first)),
    last > first ? s("text", { x: width - right, y: height - 8, class: "axis end" }, day(last)) : null,
  );
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
