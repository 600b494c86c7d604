/** What a person can do with files. */

import { batch } from "solid-js";
import type { FileContent, FileEntry } from "../../core/api-types.ts";
import { successor } from "../../core/model/files.ts";
import type { Tab } from "../../core/model/state.ts";
import { basename, join, parent, pathError, resolve } from "../../core/paths.ts";
import { Problem, sentence, Unreachable } from "../../core/problem.ts";
import { sizeText } from "../../core/size.ts";
import type { Documents } from "../editor/documents.ts";
import { saveText } from "../save-text.ts";
import type { IdeContext } from "./context.ts";
import { attempt } from "./failure.ts";

export class FileActions {
  readonly #context: IdeContext;
  readonly #documents: Documents;
  readonly #saving = new Map<string, Promise<boolean>>();
  /** Counts the files that a person wanted in front. */
  #asked = 0;

  constructor(context: IdeContext, documents: Documents) {
    this.#context = context;
    this.#documents = documents;
  }

  /** Whether a person has wanted any file in front. */
  get asked(): boolean {
    return this.#asked > 0;
  }

  /** Brings an open file to the front. */
  activate(fileId: string): void {
    this.#asked += 1;
    this.#context.dispatch({ type: "tab_active", fileId });
  }

  /** Opens a file, in front unless `activate` is false. */
  async open(fileId: string, activate = true): Promise<void> {
    const { api, dispatch, state } = this.#context;
    if (state().tabs.some((tab) => tab.fileId === fileId)) {
      if (activate) this.activate(fileId);
      return;
    }
    if (activate) this.#asked += 1;
    const turn = this.#asked;
    await attempt(this.#context, async () => {
      const file = await api.file(fileId);
      // On a slow network somebody may have gone elsewhere meanwhile, and stays there.
      const front = activate && turn === this.#asked;
      // Asked for twice at once: the text that is open already may have been edited since.
      if (state().tabs.some((tab) => tab.fileId === fileId)) {
        if (front) dispatch({ type: "tab_active", fileId });
        return;
      }
      const unreadable = whyUnreadable(file);
      if (unreadable === null) this.#documents.open(file.id, file.path, file.content ?? "");
      dispatch({ type: "tab_opened", file: withoutContent(file), unreadable, activate: front });
    });
  }

  /** Saves a file if it needs it; true when the server has the text. */
  async save(fileId: string): Promise<boolean> {
    const before = this.#saving.get(fileId);
    if (before !== undefined) await before;
    const tab = this.#tab(fileId);
    if (tab === undefined || !tab.dirty) return true;
    const saving = this.#saveNow(tab, tab.etag).finally(() => this.#saving.delete(fileId));
    this.#saving.set(fileId, saving);
    return saving;
  }

  /** Saves all open files that need it, the one in front last: should two conflict, its question is the one asked. */
  async saveAll(): Promise<boolean> {
    const { activeFile, tabs } = this.#context.state();
    const dirty = tabs
      .filter((tab) => tab.dirty)
      .sort((a, b) => Number(a.fileId === activeFile) - Number(b.fileId === activeFile));
    let all = true;
    for (const tab of dirty) all = (await this.save(tab.fileId)) && all;
    return all;
  }

  /** Shows the conflict of a file that changed elsewhere, before saving does. */
  async compare(fileId: string): Promise<void> {
    await attempt(this.#context, () => this.#conflict(fileId, false));
  }

  /** The conflict dialog's answers: this text wins over version `etag`, or makes the removed file anew. */
  async overwrite(fileId: string, etag: string | null): Promise<void> {
    const { api, dispatch, workspaceId } = this.#context;
    const tab = this.#tab(fileId);
    dispatch({ type: "dialog", dialog: null });
    if (tab === undefined) return;
    if (etag !== null) {
      await this.#saveNow(tab, etag);
      return;
    }
    const snapshot = this.#documents.snapshot(fileId);
    if (snapshot === null) return;
    await attempt(this.#context, async () => {
      try {
        const made = await api.createFile(workspaceId, tab.path, false, snapshot.text);
        batch(() => {
          this.adopt(fileId, made.id);
          dispatch({ type: "files_written", files: [made] });
          const dirty = this.#documents.markSaved(made.id, snapshot.doc);
          dispatch({ type: "tab_loaded", fileId: made.id, etag: made.etag, dirty });
        });
      } catch (error) {
        if (!(error instanceof Problem) || error.code !== "path_exists") throw error;
        // It came back before the page was told.
        dispatch({ type: "file_list", files: await api.files(workspaceId) });
        const there = successor(this.#context.state(), tab);
        if (there === undefined) throw error;
        this.adopt(fileId, there.id);
        await this.#conflict(there.id, false);
      }
    });
  }

  /** The text of a removed file is from now on that of the file that took its place. */
  adopt(fileId: string, by: string): void {
    if (this.#tab(fileId) === undefined || this.#tab(by) !== undefined) return;
    this.#documents.adopt(fileId, by);
    this.#context.dispatch({ type: "tab_adopted", fileId, by });
  }

  /** The server's text wins. */
  async reload(fileId: string): Promise<void> {
    const { api, dispatch } = this.#context;
    if (this.#context.state().dialog?.kind === "conflict") dispatch({ type: "dialog", dialog: null });
    await attempt(this.#context, async () => {
      const file = await api.file(fileId);
      const unreadable = whyUnreadable(file);
      if (unreadable === null) this.#documents.replace(fileId, file.content ?? "");
      else this.#documents.close(fileId);
      dispatch({ type: "files_written", files: [withoutContent(file)] });
      const dirty = this.#documents.isDirty(fileId);
      dispatch({ type: "tab_loaded", fileId, etag: file.etag, dirty, ...(unreadable === null ? {} : { unreadable }) });
    });
  }

  /** Keeps the text of an open file on the person's own machine; from then on it is no loss. */
  keepCopy(fileId: string): void {
    const [tab, snapshot] = [this.#tab(fileId), this.#documents.snapshot(fileId)];
    if (tab !== undefined && snapshot !== null) saveText(basename(tab.path), snapshot.text);
  }

  /** Closes a tab; one with unsaved text asks first, unless `discard`. */
  close(fileId: string, discard = false): void {
    if (!discard && this.#tab(fileId)?.dirty) {
      this.#context.dispatch({ type: "dialog", dialog: { kind: "close", fileId } });
      return;
    }
    this.#close(fileId);
  }

  /** Lets all unsaved texts go. */
  discardAll(): void {
    for (const tab of this.#context.state().tabs) if (tab.dirty) this.#close(tab.fileId);
  }

  /** Makes a file or folder from what was typed; a sentence when the name can't be. */
  async create(directory: string, typed: string, folder: boolean): Promise<string | null> {
    const path = resolve(directory, typed);
    const error = pathError(path);
    if (error !== null) return error;
    const { api, dispatch, workspaceId } = this.#context;
    let made: FileEntry;
    try {
      made = await api.createFile(workspaceId, path, folder);
    } catch (failure) {
      return refusal(failure, path);
    }
    dispatch({ type: "files_written", files: [made] });
    dispatch({ type: "dialog", dialog: null });
    dispatch({ type: "expand", path: parent(path), open: true });
    if (!folder) await this.open(made.id);
    return null;
  }

  async move(file: FileEntry, typed: string): Promise<string | null> {
    const path = resolve("/", typed);
    const error = pathError(path);
    if (error !== null) return error;
    if (path === file.path) {
      this.#context.dispatch({ type: "dialog", dialog: null });
      return null;
    }
    try {
      const moved = await this.#context.api.moveFile(file.id, path);
      this.#context.dispatch({ type: "files_written", files: [moved] });
    } catch (failure) {
      return refusal(failure, path);
    }
    this.#context.dispatch({ type: "dialog", dialog: null });
    return null;
  }

  /** Moves a file into a directory by dragging. */
  async moveInto(fileId: string, directory: string): Promise<void> {
    const file = this.#context.state().files.get(fileId);
    if (file === undefined) return;
    const path = join(directory, file.path.slice(file.path.lastIndexOf("/") + 1));
    if (path === file.path) return;
    const text = await this.move(file, path);
    if (text !== null) this.#context.dispatch({ type: "notice", tone: "error", text });
  }

  async remove(file: FileEntry): Promise<void> {
    this.#context.dispatch({ type: "dialog", dialog: null });
    await attempt(this.#context, async () => {
      await this.#context.api.deleteFile(file.id);
      this.#context.dispatch({ type: "file_removed", path: file.path });
    });
  }

  async #saveNow(tab: Tab, etag: string): Promise<boolean> {
    const { api, dispatch } = this.#context;
    const { fileId } = tab;
    const snapshot = this.#documents.snapshot(fileId);
    if (snapshot === null) return true;
    dispatch({ type: "tab_saving", fileId, saving: true });
    const saved = await attempt(this.#context, async () => {
      try {
        const file = await api.saveFile(fileId, snapshot.text, etag);
        const dirty = this.#documents.markSaved(fileId, snapshot.doc);
        dispatch({ type: "files_written", files: [file] });
        dispatch({ type: "tab_loaded", fileId, etag: file.etag, dirty });
        this.#forget(new NotSaved(tab.path).message);
      } catch (error) {
        if (error instanceof Unreachable) throw new NotSaved(tab.path);
        if (error instanceof Problem && error.code === "not_permitted") throw new MayNot(tab.path);
        if (!(error instanceof Problem) || (error.status !== 412 && error.status !== 404)) throw error;
        await this.#conflict(fileId, error.status === 404);
      }
    });
    dispatch({ type: "tab_saving", fileId, saving: false });
    return saved && !this.#tab(fileId)?.dirty;
  }

  /** What was told is no longer so. */
  #forget(text: string): void {
    const { dispatch, state } = this.#context;
    for (const notice of state().notices) if (notice.text === text) dispatch({ type: "notice_read", id: notice.id });
  }

  async #conflict(fileId: string, removed: boolean): Promise<void> {
    const { api, dispatch } = this.#context;
    const theirs = removed ? null : await api.file(fileId);
    dispatch({
      type: "dialog",
      dialog: { kind: "conflict", fileId, theirs: theirs?.content ?? null, etag: theirs?.etag ?? null },
    });
  }

  #close(fileId: string): void {
    this.#documents.close(fileId);
    this.#context.dispatch({ type: "tab_closed", fileId });
  }

  #tab(fileId: string): Tab | undefined {
    return this.#context.state().tabs.find((tab) => tab.fileId === fileId);
  }
}

/** The text is still here and nowhere else. */
class NotSaved extends Error {
  constructor(path: string) {
    super(`${path} is not saved: the server can't be reached. Ctrl+S tries again.`);
  }
}

/** The right to edit was taken away meanwhile. */
class MayNot extends Error {
  constructor(path: string) {
    super(`${path} is not saved: you may only watch this workspace now. Ask its owner, or keep a copy.`);
  }
}

/** Why a path could not be had, with what helps. */
function refusal(failure: unknown, path: string): string {
  if (!(failure instanceof Problem)) return sentence(failure);
  if (failure.code === "path_exists") return `${path} exists already. Choose another name.`;
  if (failure.code === "generated_folder")
    return `${path} lies in a folder that programs make in the sandbox. Make it in a terminal.`;
  return sentence(failure);
}

/** Why the editor can't show a file; null where it can. */
function whyUnreadable(file: FileContent): string | null {
  if (file.is_directory || file.symlink_target !== null) return "This is a link, not a file.";
  if (file.content === null) return `This file is too large for the editor: ${sizeText(file.size)}.`;
  return file.encoding === "base64" ? `This file is no text. It has ${sizeText(file.size)}.` : null;
}

function withoutContent<T extends FileEntry>(file: T): FileEntry {
  const { id, workspace_id, path, is_directory, symlink_target, size, executable, etag, created_at, updated_at } = file;
  return { id, workspace_id, path, is_directory, symlink_target, size, executable, etag, created_at, updated_at };
}
