/** Open files in the state. */

import { dropTabs, followFile } from "./files.ts";
import type { Action, IdeState, Tab } from "./state.ts";
import { ancestors } from "./tree.ts";

type TabAction = Extract<
  Action,
  { type: "tab_opened" | "tab_active" | "tab_edited" | "tab_saving" | "tab_loaded" | "tab_adopted" | "tab_closed" }
>;

export function reduceTabs(state: IdeState, action: TabAction): IdeState {
  switch (action.type) {
    case "tab_opened": {
      const { file, unreadable } = action;
      const opened = action.activate ? activate(state, file.id, file.path) : state;
      if (state.tabs.some((tab) => tab.fileId === file.id)) return opened;
      const tab: Tab = {
        fileId: file.id,
        path: file.path,
        etag: file.etag,
        dirty: false,
        saving: false,
        stale: "no",
        unreadable,
      };
      return { ...opened, tabs: [...state.tabs, tab] };
    }
    case "tab_active": {
      const tab = state.tabs.find((each) => each.fileId === action.fileId);
      return tab === undefined ? state : activate(state, tab.fileId, tab.path);
    }
    case "tab_edited":
      return change(state, action.fileId, (tab) =>
        tab.dirty === action.dirty ? tab : { ...tab, dirty: action.dirty },
      );
    case "tab_saving":
      return change(state, action.fileId, (tab) =>
        followFile({ ...tab, saving: action.saving }, state.files.get(tab.fileId)),
      );
    case "tab_loaded":
      return change(state, action.fileId, (tab) =>
        followFile(
          {
            ...tab,
            etag: action.etag,
            dirty: action.dirty,
            saving: false,
            stale: "no",
            unreadable: action.unreadable ?? tab.unreadable,
          },
          state.files.get(tab.fileId),
        ),
      );
    case "tab_adopted": {
      const { fileId, by } = action;
      if (state.tabs.some((tab) => tab.fileId === by)) return state;
      const next = change(state, fileId, (tab) => followFile({ ...tab, fileId: by, stale: "no" }, state.files.get(by)));
      // What was asked of the removed file is no question any more.
      const asked = state.dialog !== null && "fileId" in state.dialog && state.dialog.fileId === fileId;
      const activeFile = next.activeFile === fileId ? by : next.activeFile;
      return { ...next, activeFile, dialog: asked ? null : state.dialog };
    }
    case "tab_closed":
      return dropTabs(state, (tab) => tab.fileId === action.fileId);
  }
}

function activate(state: IdeState, fileId: string, path: string): IdeState {
  const expanded = new Set([...state.expanded, ...ancestors(path)]);
  return { ...state, activeFile: fileId, selected: path, expanded };
}

function change(state: IdeState, fileId: string, how: (tab: Tab) => Tab): IdeState {
  const tabs = state.tabs.map((tab) => (tab.fileId === fileId ? how(tab) : tab));
  return tabs.some((tab, at) => tab !== state.tabs[at]) ? { ...state, tabs } : state;
}
