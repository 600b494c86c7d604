/** Files from this computer, as a form the server takes in one piece. */

import type { FileEntry } from "../../core/api-types.ts";
import { problemFrom, Unreachable } from "../../core/problem.ts";

export interface Upload {
  /** Below the directory it goes to, without a leading slash. */
  path: string;
  file: File;
}

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
    request.onerror = () => failed(new Unreachable());
    request.onabort = () => failed(new UploadCancelled());
    request.onload = () => {
      const { status, responseText } = request;
      if (status >= 400) failed(problemFrom(status, responseText, request.getResponseHeader("retry-after")));
      else done((JSON.parse(responseText) as { items: FileEntry[] }).items);
    };
    options.signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** A person ended it. */
export class UploadCancelled extends Error {}

export function fromInput(files: Iterable<File>): Upload[] {
  return Array.from(files, (file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/** What was dropped, folders with all that is in them. */
export async function fromDrop(transfer: DataTransfer): Promise<Upload[]> {
  // The entries must be taken before the first await: the browser forgets them after the event.
  const entries: FileSystemEntry[] = [];
  const found: Upload[] = [];
  for (const item of transfer.items) {
    const entry = item.webkitGetAsEntry();
    // What a program made and not the file system (a picture dragged out of a page) is a file without an entry.
    const file = entry === null ? item.getAsFile() : null;
    if (entry !== null) entries.push(entry);
    else if (file !== null) found.push({ path: file.name, file });
  }
  for (const entry of entries) await walk(entry, "", found);
  return found;
}

async function walk(entry: FileSystemEntry, above: string, found: Upload[]): Promise<void> {
  const path = above + entry.name;
  if (entry.isFile) {
    const file = await new Promise<File>((done, failed) => (entry as FileSystemFileEntry).file(done, failed));
    found.push({ path, file });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    // A reader hands out at most a hundred entries at a time.
    const batch = await new Promise<FileSystemEntry[]>((done, failed) => reader.readEntries(done, failed));
    if (batch.length === 0) return;
    for (const each of batch) await walk(each, `${path}/`, found);
  }
}
