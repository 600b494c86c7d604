/** The tree of files in the state, and what its changes mean for open ones. */

import type { FileEntry } from "../api-types.ts";
import { isWithin, parent, rebase } from "../paths.ts";
import type { Action, IdeState, Tab } from "./state.ts";
import { ancestors } from "./tree.ts";

type FileAction = Extract<Action, { type: "file_list" | "files_written" | "file_removed" | "files_changed" }>;

export function reduceFiles(state: IdeState, action: FileAction): IdeState {
  switch (action.type) {
    case "file_list": {
      const files = new Map(action.files.map((file) => [file.id, kept(state.files.get(file.id), file)]));
      const same = files.size === state.files.size && [...files].every(([id, file]) => state.files.get(id) === file);
      return same ? state : { ...state, files };
    }
    case "files_written":
      return written(state, action.files);
    case "file_removed": {
      // The stream may have told of it before, and something else be selected since.
      const selected = state.selected !== null && isWithin(state.selected, action.path) ? null : state.selected;
      return { ...state, files: without(state.files, [action.path]), selected };
    }
    case "files_changed":
      return changed(state, action);
  }
}

function written(state: IdeState, entries: readonly FileEntry[]): IdeState {
  const files = new Map(state.files);
  for (const file of entries) files.set(file.id, file);
  // Directories that the server made on the way are asked for.
  const known = new Set(["/", ...Array.from(files.values(), (file) => file.path)]);
  const wanted = entries.some((file) => !known.has(parent(file.path)));
  let next: IdeState = { ...state, files, filesWanted: state.filesWanted + (wanted ? 1 : 0) };
  for (const file of entries) {
    const before = state.files.get(file.id);
    if (before !== undefined && before.path !== file.path) next = moved(next, before.path, file.path, file.id);
  }
  return next;
}

/** The very object that was known where nothing of it changed, so that a list asked for again redraws nothing. */
function kept(before: FileEntry | undefined, after: FileEntry): FileEntry {
  const same =
    before !== undefined &&
    before.path === after.path &&
    before.etag === after.etag &&
    before.size === after.size &&
    before.is_directory === after.is_directory &&
    before.executable === after.executable &&
    before.symlink_target === after.symlink_target &&
    before.updated_at === after.updated_at;
  return same ? before : after;
}

/** All that lies below a moved directory moves with it. */
function moved(state: IdeState, from: string, to: string, id: string): IdeState {
  const files = new Map<string, FileEntry>();
  for (const [key, file] of state.files) {
    files.set(key, key === id || !isWithin(file.path, from) ? file : { ...file, path: rebase(file.path, from, to) });
  }
  const expanded = new Set([...state.expanded].map((path) => rebase(path, from, to)));
  const selected = state.selected === null ? null : rebase(state.selected, from, to);
  return { ...state, files, expanded, selected };
}

/**
 * The stream names what changed by path, id and etag only, so a file that is new here, or whose size changed, is asked
 * for: `filesWanted` rises. What can be told at once (gone, another etag, another path) is.
 */
function changed(state: IdeState, action: Extract<Action, { type: "files_changed" }>): IdeState {
  const moving = new Set(action.changed.map((change) => change.id));
  const files = without(state.files, action.removed, moving);
  let wanted = false;
  for (const change of action.changed) {
    const file = files.get(change.id);
    if (file !== undefined && file.path === change.path && file.etag === change.etag) continue;
    wanted = true;
    if (file !== undefined) files.set(change.id, { ...file, path: change.path, etag: change.etag });
  }
  return { ...state, files, filesWanted: state.filesWanted + (wanted ? 1 : 0) };
}

function without(
  files: ReadonlyMap<string, FileEntry>,
  removed: readonly string[],
  kept: ReadonlySet<string> = new Set(),
): Map<string, FileEntry> {
  const gone = new Set(removed);
  const left = new Map<string, FileEntry>();
  for (const [id, file] of files) {
    const isGone = gone.has(file.path) || ancestors(file.path).some((directory) => gone.has(directory));
    if (kept.has(id) || !isGone) left.set(id, file);
  }
  return left;
}

/** An open file's tab after the tree changed; `file` is what the tree now says of it. */
export function followFile(tab: Tab, file: FileEntry | undefined): Tab {
  if (file === undefined) return tab.stale === "removed" ? tab : { ...tab, stale: "removed" };
  // While it is being saved, the change that is reported is most likely our own.
  const differs = file.etag !== tab.etag && !tab.saving;
  const stale = differs ? "changed" : tab.saving ? tab.stale : "no";
  return file.path === tab.path && stale === tab.stale ? tab : { ...tab, path: file.path, stale };
}

/** What stands now where the file of a tab was removed. */
export function successor(state: IdeState, tab: Tab): FileEntry | undefined {
  if (tab.stale !== "removed") return undefined;
  for (const file of state.files.values()) if (file.path === tab.path && !file.is_directory) return file;
  return undefined;
}

/** Closes the tabs that `which` names, and moves on to a neighbour when the active one goes. */
export function dropTabs(state: IdeState, which: (tab: Tab) => boolean): IdeState {
  const tabs = state.tabs.filter((tab) => !which(tab));
  if (tabs.length === state.tabs.length) return state;
  if (tabs.some((tab) => tab.fileId === state.activeFile)) return { ...state, tabs };
  const at = state.tabs.findIndex((tab) => tab.fileId === state.activeFile);
  const next = tabs[Math.min(Math.max(at, 0), tabs.length - 1)];
  return { ...state, tabs, activeFile: next?.fileId ?? null };
}
