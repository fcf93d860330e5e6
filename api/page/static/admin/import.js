/** Import: sends a dropped or chosen folder or tables file by file, runs the import, shows progress and problems. */

import { h } from "../dom.js";
import { counted, problemList, watched } from "./parts.js";
import { get, put, send } from "./requests.js";

const TABLES = ["pins.csv", "sales.csv", "fx.csv"];
const AT_ONCE = 4;

export async function importing(signal) {
  const told = h("p", { class: "notice", role: "status" });
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": "Progress" });
  const result = h("div", { class: "import-result" });
  const stop = h("button", { type: "button", hidden: true }, "Stop");
  const folder = h("input", { id: "choose-folder", class: "visually-hidden", type: "file", webkitdirectory: true, multiple: true, onchange: () => {
    void run([...folder.files].map((file) => [file.webkitRelativePath || file.name, file]));
    folder.value = "";
  } });
  const files = h("input", { id: "choose-tables", class: "visually-hidden", type: "file", multiple: true, accept: ".csv,text/csv,image/*,.heic,.heif,.hif,.avif", onchange: () => {
    void run([...files.files].map((file) => [file.name, file]));
    files.value = "";
  } });
  const zone = h("div", { class: "drop", ondragover: (event) => {
    event.preventDefault();
    zone.classList.add("over");
  }, ondragleave: () => zone.classList.remove("over"), ondrop: (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    // read now: the entries are not available after this handler
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    void dropped(entries).then(run, (error) => say(error.message, true));
  } },
    h("p", {}, h("strong", {}, "Drop a folder or tables here")),
    h("p", { class: "hint" }, "A folder with pins.csv and its pictures; or pins.csv, sales.csv, fx.csv alone. If front_image is empty, a pin that is already in the catalogue keeps its pictures."),
    h("div", { class: "actions" }, folder, h("label", { for: "choose-folder", class: "button" }, "Choose a folder"), files, h("label", { for: "choose-tables", class: "button" }, "Choose tables")));

  const say = (text, wrong = false) => {
    told.textContent = text;
    told.classList.toggle("wrong", wrong);
  };

  async function run(found) {
    const chosen = sorted(found);
    if (!chosen.some(([path]) => TABLES.includes(path))) {
      say("It contains no pins.csv, sales.csv or fx.csv.", true);
      return;
    }
    zone.hidden = true;
    stop.hidden = bar.hidden = false;
    bar.value = 0;
    result.replaceChildren();
    const sending = new AbortController();
    let id = null;
    let started = false;
    stop.onclick = () => {
      sending.abort();
      if (id) void send("DELETE", `/imports/${id}`).catch(() => {});
    };
    try {
      ({ id } = await send("POST", "/imports"));
      let sent = 0;
      const left = [...chosen];
      const one = async () => {
        for (let next = left.shift(); next; next = left.shift()) {
          await put(id, next[0], next[1], sending.signal);
          sent += 1;
          bar.value = sent / chosen.length;
          say(`Sending: ${sent.toLocaleString()} of ${counted(chosen.length, "file")} …`);
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, one));
      await send("POST", `/imports/${id}/start`);
      started = true;
      ended(await watched(id, going));
    } catch (error) {
      say(error.name === "AbortError" ? "Stopped." : error.message, error.name !== "AbortError");
      if (id && !started) void send("DELETE", `/imports/${id}`).catch(() => {});
    } finally {
      stop.hidden = bar.hidden = true;
      zone.hidden = false;
    }
  }

  function going(state) {
    if (!state) {
      say("The server cannot be reached. The import goes on there; trying again …", true);
      return;
    }
    bar.value = state.total ? state.done / state.total : 0;
    say(state.state === "waiting" ? "Waiting for another import …" : `Importing: ${state.done.toLocaleString()} of ${counted(state.total, "row")} …`);
  }

  function ended(state) {
    if (state.state !== "done") say(state.state === "cancelled" ? `Stopped after ${counted(state.done, "row")}, which are in the catalogue.` : state.wrong, state.state === "failed");
    const { counts } = state;
    if (!Object.keys(counts).length) return;
    say(`${counted(counts.added, "pin")} added, ${counts.updated.toLocaleString()} updated, ${counts.unchanged.toLocaleString()} unchanged, ${counted(counts.sales, "sale")}${counts.replaced ? ` in place of ${counted(counts.replaced, "earlier sale")}` : ""}; ${counted(counts.size, "pin")} in all.`);
    result.replaceChildren(...problemList("Rows left out", state.problems, counts.problems), ...problemList("Imported with a warning", state.warnings, counts.warnings));
  }

  const { imports } = await get("/imports", signal);
  const under = imports.find((one) => one.state === "running" || one.state === "waiting");
  if (under) { // an import that began before this page was opened
    bar.hidden = stop.hidden = false;
    stop.onclick = () => void send("DELETE", `/imports/${under.id}`).catch(() => {});
    void watched(under.id, going).then(ended, () => {}).finally(() => (bar.hidden = stop.hidden = true));
  }
  return h("div", {}, h("h2", {}, "Import"), zone, h("div", { class: "going" }, told, bar, stop), result);
}

/**
 * Files with paths relative to the tables' folder. Hidden files and files outside that folder are left out. A single
 * table's kind is guessed from its name.
 */
function sorted(found) {
  const tables = found.filter(([path]) => path.toLowerCase().endsWith(".csv"));
  if (tables.length === 1 && found.length === 1) {
    const [[path, file]] = tables;
    const name = path.toLowerCase();
    return [[name.includes("sale") ? "sales.csv" : name.includes("fx") || name.includes("rate") ? "fx.csv" : "pins.csv", file]];
  }
  const base = found.map(([path]) => path).filter((path) => TABLES.includes(path.split("/").at(-1))).map((path) => path.slice(0, path.lastIndexOf("/") + 1))
    .sort((a, b) => a.length - b.length)[0] ?? "";
  return found.filter(([path]) => path.startsWith(base) && !path.split("/").some((part) => part.startsWith(".")))
    .map(([path, file]) => [path.slice(base.length), file]);
}

/** [path, file] of all files in the dropped entries. */
async function dropped(entries, prefix = "") {
  const found = [];
  for (const entry of entries) {
    if (entry.isFile) found.push([`${prefix}${entry.name}`, await new Promise((resolve, reject) => entry.file(resolve, reject))]);
    else {
      const reader = entry.createReader();
      for (;;) { // readEntries returns at most a hundred at a time
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (!some.length) break;
        found.push(...await dropped(some, `${prefix}${entry.name}/`));
      }
    }
  }
  return found;
}
