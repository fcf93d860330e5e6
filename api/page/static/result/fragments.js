/**
 * Shows the server's HTML fragments without trusting them: parses them into an inert document, then rebuilds them
 * with a short list of harmless elements and no attribute but `class`.
 */

import { h, trusted } from "../dom.js";

const ALLOWED = new Set(
  "P DIV SPAN STRONG EM B I SMALL UL OL LI DL DT DD TABLE THEAD TBODY TR TH TD CAPTION H3 H4 BR HR FIGURE FIGCAPTION SECTION ARTICLE HEADER FOOTER TIME CODE ABBR".split(" "),
);
const DROPPED = new Set("SCRIPT STYLE TEMPLATE IFRAME OBJECT EMBED SVG MATH NOSCRIPT".split(" "));
const DEEPEST = 24;

/** Nodes for a fragment. Unknown elements are replaced by their content. */
export function fragment(html) {
  const parsed = new DOMParser().parseFromString(trusted.createHTML(html), "text/html");
  return h("div", { class: "fragment" }, ...rebuild(parsed.body, 0));
}

function rebuild(parent, depth) {
  if (depth > DEEPEST) return [];
  return [...parent.childNodes].flatMap((node) => {
    if (node.nodeType === Node.TEXT_NODE) return [document.createTextNode(node.data)];
    if (node.nodeType !== Node.ELEMENT_NODE || DROPPED.has(node.nodeName.toUpperCase())) return [];
    const children = rebuild(node, depth + 1);
    if (!ALLOWED.has(node.nodeName)) return children;
    return [h(node.nodeName.toLowerCase(), { class: node.getAttribute("class") }, ...children)];
  });
}
