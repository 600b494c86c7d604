/** The page's one reducer. Each concept has its own file beside this one; here is only who handles what. */

import { isWithin } from "../paths.ts";
import { dropTabs, followFile, reduceFiles } from "./files.ts";
import { reduceProcesses } from "./processes.ts";
import { sandboxState } from "./sandbox.ts";
import type { Action, IdeState } from "./state.ts";
import { reduceTabs } from "./tabs.ts";

/** At most so many notices are shown; the oldest give way. */
const NOTICES = 4;

export function reduce(state: IdeState, action: Action): IdeState {
  switch (action.type) {
    case "workspace": {
      const { workspace } = action;
      // One that ended is no longer the workspace's, yet how it ended is still to be seen.
      const sandbox = workspace.sandbox === null ? state.sandbox : sandboxState(workspace.sandbox);
      return { ...state, presence: { kind: "open", workspace }, sandbox };
    }
    case "role":
      if (state.presence.kind !== "open" || state.presence.workspace.role === action.role) return state;
      return { ...state, presence: { kind: "open", workspace: { ...state.presence.workspace, role: action.role } } };
    case "gone":
      // Whatever else failed, failed for this.
      return { ...state, presence: { kind: "gone", why: action.why }, connection: "off", dialog: null, notices: [] };
    case "template":
      return { ...state, template: action.template };
    case "file_list":
    case "files_written":
    case "file_removed":
    case "files_changed":
      return followTabs(state, reduceFiles(state, action), action.type === "file_removed" ? action.path : null);
    case "expand": {
      const expanded = new Set(state.expanded);
      if (action.open) expanded.add(action.path);
      else expanded.delete(action.path);
      return { ...state, expanded };
    }
    case "select":
      return { ...state, selected: action.path };
    case "tab_opened":
    case "tab_active":
    case "tab_edited":
    case "tab_saving":
    case "tab_loaded":
    case "tab_adopted":
    case "tab_closed":
      return reduceTabs(state, action);
    case "process_list":
    case "process_seen":
    case "process_status":
    case "terminal_opened":
    case "terminal_active":
    case "terminal_closed":
    case "terminal_caption":
      return reduceProcesses(state, action);
    case "connection":
      return { ...state, connection: action.connection };
    case "sandbox":
      return { ...state, sandbox: action.sandbox };
    case "dialog":
      return { ...state, dialog: action.dialog };
    case "notice": {
      if (state.notices.some((notice) => notice.text === action.text)) return state;
      const { tone, text, requestId = null } = action;
      const notice = { id: state.nextNotice, tone, text, requestId };
      return { ...state, notices: [...state.notices, notice].slice(-NOTICES), nextNotice: state.nextNotice + 1 };
    }
    case "notice_read":
      return { ...state, notices: state.notices.filter((notice) => notice.id !== action.id) };
    case "transfer": {
      const others = state.transfers.filter((transfer) => transfer.id !== action.transfer.id);
      return { ...state, transfers: [...others, action.transfer] };
    }
    case "transfer_over":
      return { ...state, transfers: state.transfers.filter((transfer) => transfer.id !== action.id) };
  }
}

/**
 * Open files follow the tree: a moved one keeps its tab. What a program removed keeps it too, as it may well come back
 * (another branch is checked out, a tool writes it anew); what a person removed here (`removed`) loses it when clean.
 */
function followTabs(before: IdeState, after: IdeState, removed: string | null): IdeState {
  if (before.files === after.files) return after;
  const tabs = after.tabs.map((tab) => followFile(tab, after.files.get(tab.fileId)));
  const changed = tabs.some((tab, at) => tab !== after.tabs[at]);
  const followed = changed ? { ...after, tabs } : after;
  if (removed === null) return followed;
  return dropTabs(followed, (tab) => tab.stale === "removed" && !tab.dirty && isWithin(tab.path, removed));
}
