/** The core's transport over `fetch`, with the page's cookie. */

import type { Transport } from "../core/api.ts";

export const fetchTransport: Transport = async (request) => {
  const answer = await fetch(request.path, {
    method: request.method,
    headers: request.headers,
    body: request.body as BodyInit | null,
    credentials: "same-origin",
    cache: "no-store",
  });
  return { status: answer.status, header: (name) => answer.headers.get(name), text: () => answer.text() };
};
