/** Files and folders that a person brings: read, sent, and asked about where something is in the way. */

import { batch } from "solid-js";
import type { FileEntry } from "../../core/api-types.ts";
import { join } from "../../core/paths.ts";
import { Problem, Unreachable } from "../../core/problem.ts";
import { sizeText } from "../../core/size.ts";
import type { IdeContext } from "./context.ts";
import { attempt } from "./failure.ts";
import { droppedEntries, fromInput, type Picked, readEntries, type Upload } from "./picked.ts";
import { upload } from "./upload.ts";

/** So many names of what was left out are told. */
const NAMES = 3;

type Progress = (label: string, sent: number, total: number) => void;

export class UploadActions {
  readonly #context: IdeContext;
  /** Kept out of the state: it holds the files' bytes. */
  #pending: { directory: string; picked: Picked } | null = null;
  readonly #running = new Map<number, AbortController>();
  #next = 1;

  constructor(context: IdeContext) {
    this.#context = context;
  }

  /** What was dropped on a directory. */
  async drop(directory: string, transfer: DataTransfer): Promise<void> {
    const { entries, loose } = droppedEntries(transfer);
    const generated = this.#generated();
    await this.#follow(async (progress, signal) => {
      const onFound = (files: number): void => progress(`Reading folders: ${files} files so far`, 0, 0);
      const picked = await readEntries(entries, { generated, onFound, signal });
      picked.uploads.push(...fromInput(loose, generated).uploads);
      await this.#send(directory, picked, false, progress, signal);
    });
  }

  /** What was chosen in the browser's own dialog. */
  async choose(directory: string, files: Iterable<File>): Promise<void> {
    const picked = fromInput(files, this.#generated());
    await this.#follow((progress, signal) => this.#send(directory, picked, false, progress, signal));
  }

  /** The overwrite dialog's yes. */
  async overwrite(): Promise<void> {
    const pending = this.#pending;
    this.#pending = null;
    this.#context.dispatch({ type: "dialog", dialog: null });
    if (pending === null) return;
    await this.#follow((progress, signal) => this.#send(pending.directory, pending.picked, true, progress, signal));
  }

  cancel(id: number): void {
    this.#running.get(id)?.abort();
  }

  #generated(): readonly string[] {
    return this.#context.state().template?.generated_folders ?? [];
  }

  /** Runs one upload: its progress is shown, and a person may end it. */
  async #follow(work: (progress: Progress, signal: AbortSignal) => Promise<void>): Promise<void> {
    const { dispatch } = this.#context;
    const id = this.#next++;
    const abort = new AbortController();
    this.#running.set(id, abort);
    const progress: Progress = (label, sent, total) =>
      dispatch({ type: "transfer", transfer: { id, label, sent, total } });
    await attempt(this.#context, async () => {
      try {
        await work(progress, abort.signal);
      } catch (error) {
        if (!abort.signal.aborted) throw error;
      }
    });
    this.#running.delete(id);
    dispatch({ type: "transfer_over", id });
  }

  async #send(
    directory: string,
    picked: Picked,
    overwrite: boolean,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    const { dispatch, workspaceId } = this.#context;
    const { uploads, emptyFolders, leftOut } = picked;
    let files: FileEntry[] = [];
    if (uploads.length > 0) {
      const label = `Uploading ${uploads.length === 1 ? uploads[0]?.path : `${uploads.length} files`}`;
      const onProgress = (sent: number, total: number): void => progress(label, sent, total);
      onProgress(0, 1);
      try {
        files = await upload(workspaceId, directory, uploads, { overwrite, onProgress, signal });
      } catch (error) {
        if (error instanceof Problem && error.code === "path_exists" && !overwrite) {
          this.#ask(directory, picked);
          return;
        }
        if (error instanceof Problem && error.code === "too_large") throw tooLarge(error, uploads);
        throw error instanceof Unreachable ? new Interrupted() : error;
      }
    }
    for (const folder of emptyFolders) files.push(...(await this.#makeFolder(join(directory, folder))));
    const first = (uploads[0]?.path ?? emptyFolders[0])?.split("/")[0];
    batch(() => {
      dispatch({ type: "files_written", files });
      dispatch({ type: "expand", path: directory, open: true });
      if (first !== undefined) dispatch({ type: "select", path: join(directory, first) });
      if (leftOut.length > 0) dispatch({ type: "notice", tone: "info", text: leftOutText(leftOut) });
    });
  }

  /** Where something is in the way, a person decides. */
  #ask(directory: string, picked: Picked): void {
    this.#pending = { directory, picked };
    const there = new Set(Array.from(this.#context.state().files.values(), (file) => file.path));
    const names = picked.uploads.map((each) => join(directory, each.path)).filter((path) => there.has(path));
    this.#context.dispatch({ type: "dialog", dialog: { kind: "overwrite", names } });
  }

  /** None when there is one already. */
  async #makeFolder(path: string): Promise<FileEntry[]> {
    try {
      return [await this.#context.api.createFile(this.#context.workspaceId, path, true)];
    } catch (error) {
      if (error instanceof Problem && error.code === "path_exists") return [];
      throw error;
    }
  }
}

/** Whether the files arrived is unknown; trying again does no harm. */
class Interrupted extends Error {
  constructor() {
    super("The upload was interrupted. Try again: nothing is replaced without your word.");
  }
}

/** Says which file to leave at home; the server only says what it takes. */
function tooLarge(refusal: Problem, uploads: readonly Upload[]): Problem {
  const largest = uploads.reduce((most, each) => (each.file.size > most.file.size ? each : most));
  const what = `${uploads.length} ${uploads.length === 1 ? "file" : "files"}, the largest ${largest.path}`;
  const text = `Nothing was uploaded: ${refusal.message}. You chose ${what}, ${sizeText(largest.file.size)}.`;
  return new Problem(refusal.status, refusal.code, text, refusal.requestId);
}

function leftOutText(paths: readonly string[]): string {
  const more = paths.length > NAMES ? ` and ${paths.length - NAMES} more` : "";
  return `Not uploaded, because it is made in the sandbox: ${paths.slice(0, NAMES).join(", ")}${more}.`;
}
