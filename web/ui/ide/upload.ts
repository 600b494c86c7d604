/** Files from this computer, as a form the server takes in one piece. */

import type { FileEntry } from "../../core/api-types.ts";
import { problemFrom, Unreachable } from "../../core/problem.ts";

export interface Upload {
  /** Below the directory it goes to, without a leading slash. */
  path: string;
  file: File;
}

/** Sends files in one request: all of them are written, or none. */
export async function upload(
  workspaceId: string,
  directory: string,
  uploads: readonly Upload[],
  overwrite: boolean,
): Promise<FileEntry[]> {
  const form = new FormData();
  for (const { path, file } of uploads) form.append("file", file, path);
  const query = new URLSearchParams({ prefix: directory });
  if (overwrite) query.set("overwrite", "true");
  let answer: Response;
  try {
    answer = await fetch(`/api/workspaces/${workspaceId}/files?${query}`, { method: "POST", body: form });
  } catch {
    throw new Unreachable();
  }
  const text = await answer.text();
  if (!answer.ok) throw problemFrom(answer.status, text, answer.headers.get("retry-after"));
  return (JSON.parse(text) as { items: FileEntry[] }).items;
}

export function fromInput(files: Iterable<File>): Upload[] {
  return Array.from(files, (file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/** What was dropped, folders with all that is in them. */
export async function fromDrop(transfer: DataTransfer): Promise<Upload[]> {
  // The entries must be taken before the first await: the browser forgets them after the event.
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const found: Upload[] = [];
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
