/** Requests of the operator's page. Every request sends the key; a refusal throws an `Error` with its `status`. */

import { keyHeaders } from "../key.js";

const ROOT = "/admin/api";

async function asked(path, { method = "GET", body, signal } = {}) {
  const response = await fetch(`${ROOT}${path}`, { method, body, signal, headers: keyHeaders() });
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw Object.assign(new Error(said.error ?? `The server answered ${response.status}.`), { status: response.status });
}

export const get = async (path, signal) => (await asked(path, { signal })).json();

export const send = async (method, path, body) => (await asked(path, { method, body: body === undefined ? undefined : JSON.stringify(body) })).json();

/** Puts a file into an import folder. */
export const put = (id, path, file, signal) =>
  asked(`/imports/${id}/files/${path.split("/").map(encodeURIComponent).join("/")}`, { method: "PUT", body: file, signal });

/** Puts a photograph of an analysis into an import folder; resolves to the resulting picture. */
export async function putPhotograph(id, wanted) {
  return (await asked(`/imports/${id}/photographs`, { method: "POST", body: JSON.stringify(wanted) })).blob();
}

/** A photograph of an analysis, or a catalogue picture; null if there is none. */
export async function picture(path) {
  const response = await fetch(path, { headers: keyHeaders() }).catch(() => null);
  return response?.ok ? response.blob() : null;
}

export const photographPath = (number, view) => `${ROOT}/records/${number}/${view}`;

export const catalogPath = (pinId, view) => `/catalog/${encodeURIComponent(pinId)}/${view}`;
