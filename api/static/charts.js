/** The two pictures among the results: the verdict's gauge and the sales behind a price. */

import { s } from "./dom.js";

const money = (value, currency) => {
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency }).format(value);
  } catch {
    return `${value.toFixed(2)} ${currency}`; // not a currency Intl knows
  }
};

/** A half circle from 0 (counterfeit) to 100 (genuine); the needle's fan widens as confidence falls. */
export function gauge(rating, confidence, verdict) {
  const point = (value, radius) => {
    const angle = Math.PI * (1 - value / 100);
    return [100 + radius * Math.cos(angle), 100 - radius * Math.sin(angle)];
  };
  const arc = (from, to, radius) => {
    const [x0, y0] = point(from, radius);
    const [x1, y1] = point(to, radius);
    return `M ${x0} ${y0} A ${radius} ${radius} 0 0 1 ${x1} ${y1}`;
  };
  const spread = 25 * (1 - confidence);
  const low = Math.max(0, rating - spread);
  const high = Math.min(100, rating + spread);
  const [x, y] = point(rating, 80);
  return s(
    "svg",
    { viewBox: "0 0 200 118", class: "gauge", role: "img", "data-verdict": verdict,
      "aria-label": `Rating ${rating} of 100, confidence ${Math.round(confidence * 100)} percent` },
    s("path", { d: arc(0, 100, 80), class: "gauge-track" }),
    s("path", { d: arc(0, rating, 80), class: "gauge-fill" }),
    s("path", { d: arc(low, high, 80), class: "gauge-spread" }),
    s("circle", { cx: x, cy: y, r: 8, class: "gauge-needle" }),
    s("text", { x: 100, y: 88, class: "gauge-number" }, String(rating)),
    s("text", { x: 100, y: 104, class: "gauge-caption" }, `confidence ${Math.round(confidence * 100)} %`),
    s("text", { x: 20, y: 116, class: "gauge-end" }, "fake"),
    s("text", { x: 180, y: 116, class: "gauge-end" }, "genuine"),
  );
}

/** Dated sales as dots, the middle half as a band, the median as a line. `sales`: [{soldAt, price}]. */
export function priceChart(sales, estimate) {
  const rows = sales
    .map((sale) => ({ at: Date.parse(sale.soldAt), price: Number(sale.price) }))
    .filter(({ at, price }) => Number.isFinite(at) && price > 0);
  if (!rows.length) return null;
  const [width, height, left, bottom, top] = [320, 170, 46, 26, 10];
  const times = rows.map((row) => row.at);
  const prices = rows.map((row) => row.price).concat(estimate ? [estimate.low, estimate.high] : []);
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const lowest = Math.min(...prices) * 0.9;
  const highest = Math.max(...prices) * 1.1;
  const x = (at) => left + (last === first ? 0.5 : (at - first) / (last - first)) * (width - left - 12);
  const y = (price) =>
    height - bottom - ((Math.log(price) - Math.log(lowest)) / (Math.log(highest) - Math.log(lowest))) * (height - bottom - top);
  const currency = estimate?.currency ?? sales[0].currency ?? "";
  const day = (at) => new Date(at).toLocaleDateString(undefined, { month: "short", year: "2-digit", timeZone: "UTC" });
  const label = (value) => s("text", { x: left - 6, y: y(value) + 4, class: "axis end" }, money(value, currency));
  return s(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, class: "price-chart", role: "img",
      "aria-label": `${rows.length} sales between ${day(first)} and ${day(last)}` },
    s("line", { x1: left, x2: width, y1: height - bottom, y2: height - bottom, class: "axis-line" }),
    estimate && s("rect", { x: left, width: width - left, y: y(estimate.high),
      height: Math.max(1, y(estimate.low) - y(estimate.high)), class: "band" }),
    estimate && s("line", { x1: left, x2: width, y1: y(estimate.median), y2: y(estimate.median), class: "median" }),
    ...(estimate ? [label(estimate.median)] : [label(Math.min(...rows.map((row) => row.price)))]),
    ...rows.map((row) => s("circle", { cx: x(row.at), cy: y(row.price), r: 4, class: "sale" },
      s("title", {}, `${new Date(row.at).toISOString().slice(0, 10)}: ${money(row.price, currency)}`))),
    s("text", { x: left, y: height - 8, class: "axis" }, day(first)),
    last > first ? s("text", { x: width - 2, y: height - 8, class: "axis end" }, day(last)) : null,
  );
}

export { money };
