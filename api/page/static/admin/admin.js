/** The operator's page: shows the section that the URL's fragment names, and asks for the key, which is required. */

import { byId } from "../dom.js";
import { apiKey, askKey } from "../key.js";
import { analyses } from "./analyses.js";
import { catalogue } from "./catalogue.js";
import { importing } from "./import.js";
import { overview } from "./overview.js";

const SECTIONS = { overview, analyses, catalogue, import: importing };

/** Stops the tasks of the current section when another one is shown. */
let leaving = new AbortController();

function notice(text, wrong = false) {
  byId("notice").textContent = text;
  byId("notice").classList.toggle("wrong", wrong);
}

async function route() {
  leaving.abort();
  const { signal } = (leaving = new AbortController());
  const [wanted, query] = location.hash.slice(1).split("?");
  const name = wanted in SECTIONS ? wanted : "overview";
  for (const link of document.querySelectorAll(".tabs a")) {
    if (link.hash !== `#${name}`) {
      link.removeAttribute("aria-current");
      continue;
    }
    link.setAttribute("aria-current", "page");
    link.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  notice("");
  if (!apiKey()) { // requests without a key would be refused
    byId("section").hidden = true;
    byId("locked").hidden = false;
    return;
  }
  try {
    const content = await SECTIONS[name](signal, new URLSearchParams(query));
    if (signal.aborted) return;
    byId("section").replaceChildren(content);
    byId("section").hidden = false;
    byId("locked").hidden = true;
  } catch (error) {
    if (signal.aborted) return;
    byId("section").hidden = true;
    const refused = error.status === 401 || error.status === 403;
    byId("locked").hidden = !refused;
    if (error.status === 403) notice("This key may not administer the server. Enter an administrator's key.", true);
    else if (!refused) notice(error.message || "The server could not be reached. Please try again.", true);
  }
}

function changeKey() {
  askKey((text, wrong) => {
    void route().then(() => wrong && notice(text, true));
  });
}

byId("key-open").addEventListener("click", changeKey);
byId("key-enter").addEventListener("click", changeKey);
addEventListener("hashchange", () => void route());
void route();
