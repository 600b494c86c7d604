/** Files and folders from this computer, dropped or chosen, made ready to go up. */

import { generatedPart } from "../../core/paths.ts";

export interface Upload {
  /** Below the directory it goes to, without a leading slash. */
  path: string;
  file: File;
}

export interface Picked {
  uploads: Upload[];
  /** Folders with nothing in them. */
  emptyFolders: string[];
  /** What belongs to the sandbox and is made there, `node_modules` and the like: the server takes none of it. */
  leftOut: string[];
}

export interface Reading {
  /** Names of the folders to leave out. */
  generated: readonly string[];
  /** Told the number of files found so far. */
  onFound: (files: number) => void;
  signal: AbortSignal;
}

/** How many files are found between two tellings. */
const TELL_EVERY = 100;

/** What the browser's own dialog gave. */
export function fromInput(files: Iterable<File>, generated: readonly string[]): Picked {
  const uploads: Upload[] = [];
  const leftOut = new Set<string>();
  for (const file of files) {
    const path = file.webkitRelativePath || file.name;
    const part = generatedPart(path, generated);
    if (part === null) uploads.push({ path, file });
    else leftOut.add(part);
  }
  return { uploads, emptyFolders: [], leftOut: [...leftOut] };
}

/** What was dropped, taken at once: the browser forgets it after the event. */
export function droppedEntries(transfer: DataTransfer): { entries: FileSystemEntry[]; loose: File[] } {
  const entries: FileSystemEntry[] = [];
  const loose: File[] = [];
  for (const item of transfer.items) {
    const entry = item.webkitGetAsEntry();
    // What a program made and not the file system (a picture dragged out of a page) is a file without an entry.
    const file = entry === null ? item.getAsFile() : null;
    if (entry !== null) entries.push(entry);
    else if (file !== null) loose.push(file);
  }
  return { entries, loose };
}

/** Reads folders with all that is in them. */
export async function readEntries(entries: readonly FileSystemEntry[], reading: Reading): Promise<Picked> {
  const picked: Picked = { uploads: [], emptyFolders: [], leftOut: [] };
  await Promise.all(entries.map((entry) => walk(entry, "", picked, reading)));
  return picked;
}

async function walk(entry: FileSystemEntry, above: string, picked: Picked, reading: Reading): Promise<void> {
  reading.signal.throwIfAborted();
  const path = above + entry.name;
  if (generatedPart(entry.name, reading.generated) !== null) {
    picked.leftOut.push(path);
  } else if (entry.isFile) {
    picked.uploads.push({ path, file: await fileOf(entry as FileSystemFileEntry, path) });
    if (picked.uploads.length % TELL_EVERY === 0) reading.onFound(picked.uploads.length);
  } else {
    const inside = await entriesOf(entry as FileSystemDirectoryEntry, path);
    if (inside.length === 0) picked.emptyFolders.push(path);
    await Promise.all(inside.map((each) => walk(each, `${path}/`, picked, reading)));
  }
}

function fileOf(entry: FileSystemFileEntry, path: string): Promise<File> {
  return new Promise((done, failed) => entry.file(done, () => failed(new Unreadable(path))));
}

async function entriesOf(folder: FileSystemDirectoryEntry, path: string): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const found: FileSystemEntry[] = [];
  for (;;) {
    // A reader hands out at most a hundred entries at a time.
    const batch = await new Promise<FileSystemEntry[]>((done, failed) =>
      reader.readEntries(done, () => failed(new Unreadable(path))),
    );
    if (batch.length === 0) return found;
    found.push(...batch);
  }
}

/** The first of `uploads` that can't be read (any more). */
export async function findUnreadable(uploads: readonly Upload[]): Promise<Unreadable | null> {
  for (const { path, file } of uploads) {
    try {
      await file.slice(0, 1).arrayBuffer();
    } catch {
      return new Unreadable(path);
    }
  }
  return null;
}

/** The browser could not read it. */
export class Unreadable extends Error {
  constructor(path: string) {
    super(`${path} can't be read: it was changed meanwhile, or you have no right to it. Nothing was uploaded.`);
  }
}
