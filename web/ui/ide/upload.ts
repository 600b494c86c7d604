/** Files on their way up, as a form the server takes in one piece. */

import type { FileEntry } from "../../core/api-types.ts";
import { problemFrom, Unreachable } from "../../core/problem.ts";
import { findUnreadable, type Upload } from "./picked.ts";

export interface UploadOptions {
  overwrite: boolean;
  onProgress: (sent: number, total: number) => void;
  /** Ends it early: nothing is written then. */
  signal: AbortSignal;
}

/** Sends files in one request: all of them are written, or none. */
export function upload(
  workspaceId: string,
  directory: string,
  uploads: readonly Upload[],
  options: UploadOptions,
): Promise<FileEntry[]> {
  const form = new FormData();
  for (const { path, file } of uploads) form.append("file", file, path);
  const query = new URLSearchParams({ prefix: directory });
  if (options.overwrite) query.set("overwrite", "true");
  // `fetch` does not tell how much of a body has gone.
  const request = new XMLHttpRequest();
  return new Promise((done, failed) => {
    request.open("POST", `/api/workspaces/${workspaceId}/files?${query}`);
    request.upload.onprogress = (event) => options.onProgress(event.loaded, event.total);
    // A file that can't be read breaks the request just as a network does.
    request.onerror = () => void findUnreadable(uploads).then((why) => failed(why ?? new Unreachable()));
    request.onabort = () => failed(options.signal.reason);
    request.onload = () => {
      const { status, responseText } = request;
      if (status >= 400) failed(problemFrom(status, responseText, request.getResponseHeader("retry-after")));
      else done((JSON.parse(responseText) as { items: FileEntry[] }).items);
    };
    options.signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
