import { describe, expect, it } from "vitest";
import type { FileEntry, Process, Workspace } from "../api-types.ts";
import { successor } from "./files.ts";
import { statusText } from "./processes.ts";
import { reduce } from "./reduce.ts";
import { type Action, type IdeState, INITIAL } from "./state.ts";
import { treeRows } from "./tree.ts";

function file(id: string, path: string, etag = "1", is_directory = false): FileEntry {
  return {
    id,
    workspace_id: "w",
    path,
    is_directory,
    symlink_target: null,
    size: 1,
    executable: false,
    etag,
    created_at: "",
    updated_at: "",
  };
}

function process(id: string, status: Process["status"], started_at: string | null = null): Process {
  return {
    id,
    workspace_id: "w",
    sandbox_id: "s",
    command: "make",
    pty: true,
    status,
    exit_code: null,
    signal: null,
    reason: null,
    started_at,
    finished_at: null,
  };
}

const stateAfter = (...actions: Action[]): IdeState => actions.reduce(reduce, INITIAL);
const list = (...files: FileEntry[]): Action => ({ type: "file_list", files });
const open = (entry: FileEntry): Action => ({ type: "tab_opened", file: entry, unreadable: null, activate: true });

describe("files", () => {
  it("move with all that is below, and open ones keep their tab", () => {
    const inner = file("b", "/src/main.py");
    const state = stateAfter(list(file("a", "/src", "", true), inner), open(inner), {
      type: "files_written",
      files: [file("a", "/lib", "", true)],
    });
    expect(state.files.get("b")?.path).toBe("/lib/main.py");
    expect(state.tabs[0]?.path).toBe("/lib/main.py");
    expect(state.expanded.has("/lib")).toBe(true);
  });

  it("go with their directory; a tab is kept and marked, until a person removes what is clean", () => {
    const [a, b] = [file("a", "/src/a"), file("b", "/src/b")];
    const opened = stateAfter(list(a, b), open(a), open(b), { type: "tab_edited", fileId: "a", dirty: true });
    const told = reduce(opened, { type: "files_changed", changed: [], removed: ["/src"] });
    expect(told.files.size).toBe(0);
    expect(told.tabs.map((tab) => [tab.fileId, tab.stale])).toEqual([
      ["a", "removed"],
      ["b", "removed"],
    ]);
    expect(told.activeFile).toBe("b");
    for (const before of [opened, told]) {
      const state = reduce(before, { type: "file_removed", path: "/src" });
      expect(state.tabs.map((tab) => [tab.fileId, tab.stale])).toEqual([["a", "removed"]]);
      expect(state.activeFile).toBe("a");
    }
  });

  it("that are removed give up the selection, and only their own", () => {
    const state = stateAfter(list(file("a", "/a"), file("b", "/b")), { type: "select", path: "/a" });
    expect(reduce(state, { type: "file_removed", path: "/b" }).selected).toBe("/a");
    expect(reduce(state, { type: "file_removed", path: "/a" }).selected).toBeNull();
  });

  it("that the stream names and nobody knows yet are asked for", () => {
    const known = stateAfter(list(file("a", "/a")));
    const same = reduce(known, {
      type: "files_changed",
      changed: [{ path: "/a", id: "a", etag: "1" }],
      removed: [],
    });
    expect(same.filesWanted).toBe(0);
    const fresh = reduce(known, { type: "files_changed", changed: [{ path: "/b", id: "b", etag: "1" }], removed: [] });
    expect(fresh.filesWanted).toBe(1);
  });

  it("that are listed again and did not change stay the very same", () => {
    const before = stateAfter(list(file("a", "/a"), file("b", "/b")));
    expect(reduce(before, list(file("a", "/a"), file("b", "/b"))).files).toBe(before.files);
    const after = reduce(before, list(file("a", "/a"), file("b", "/b", "2")));
    expect(after.files.get("a")).toBe(before.files.get("a"));
    expect(after.files.get("b")?.etag).toBe("2");
  });

  it("that moved are not removed by their old path", () => {
    const state = stateAfter(list(file("a", "/old")), {
      type: "files_changed",
      changed: [{ path: "/new", id: "a", etag: "1" }],
      removed: ["/old"],
    });
    expect(state.files.get("a")?.path).toBe("/new");
  });
});

describe("tabs", () => {
  it("are marked when somebody else changes the file, and not by their own saving", () => {
    const a = file("a", "/a");
    const opened = stateAfter(list(a), open(a));
    const changed: Action = { type: "files_changed", changed: [{ path: "/a", id: "a", etag: "2" }], removed: [] };
    expect(reduce(opened, changed).tabs[0]?.stale).toBe("changed");
    const saving = reduce(reduce(opened, { type: "tab_saving", fileId: "a", saving: true }), changed);
    expect(saving.tabs[0]?.stale).toBe("no");
    const saved = reduce(saving, { type: "tab_loaded", fileId: "a", etag: "2", dirty: false });
    expect(saved.tabs[0]).toMatchObject({ stale: "no", etag: "2", dirty: false, saving: false });
  });

  it("go on with what takes the place of a removed file", () => {
    const [a, again] = [file("a", "/src/a"), file("b", "/src/a", "2")];
    const removed = stateAfter(
      list(a, file("c", "/c")),
      open(a),
      { type: "tab_edited", fileId: "a", dirty: true },
      list(),
    );
    const back = reduce(removed, list(again));
    const of = (state: IdeState) => state.tabs.map((tab) => successor(state, tab)?.id);
    expect([of(removed), of(back)]).toEqual([[undefined], ["b"]]);
    const asked = reduce(back, {
      type: "dialog",
      dialog: { kind: "conflict", fileId: "a", theirs: null, etag: null },
    });
    const adopted = reduce(asked, { type: "tab_adopted", fileId: "a", by: "b" });
    expect(adopted.tabs).toMatchObject([{ fileId: "b", stale: "changed", dirty: true, etag: "1" }]);
    expect(adopted).toMatchObject({ activeFile: "b", dialog: null });
    expect(of(adopted)).toEqual([undefined]);
    // Somebody opened it by itself already.
    const both = reduce(back, open(again));
    expect(reduce(both, { type: "tab_adopted", fileId: "a", by: "b" })).toBe(both);
  });

  it("can turn into what is no text", () => {
    const a = file("a", "/a");
    const loaded: Action = { type: "tab_loaded", fileId: "a", etag: "1", dirty: false, unreadable: "no text" };
    expect(stateAfter(list(a), open(a), loaded).tabs[0]?.unreadable).toBe("no text");
  });

  it("hand over to a neighbour when closed", () => {
    const files = ["a", "b", "c"].map((id) => file(id, `/${id}`));
    const opened = stateAfter(list(...files), ...files.map(open), { type: "tab_active", fileId: "b" });
    const state = reduce(opened, { type: "tab_closed", fileId: "b" });
    expect(state.activeFile).toBe("c");
    expect(reduce(state, { type: "tab_closed", fileId: "a" }).activeFile).toBe("c");
  });

  it("open the directories above their file", () => {
    const deep = file("d", "/a/b/c.txt");
    expect([...stateAfter(list(deep), open(deep)).expanded]).toEqual(["/a", "/a/b"]);
  });
});

describe("processes", () => {
  const ended: Action = {
    type: "process_status",
    processId: "p",
    sandboxId: "s",
    status: "completed",
    exitCode: 0,
    signal: null,
    reason: null,
  };

  it("do not come back to life by a late list", () => {
    const state = stateAfter({ type: "process_list", processes: [process("p", "running")] }, ended, {
      type: "process_list",
      processes: [process("p", "running")],
    });
    expect(state.processes.get("p")?.status).toBe("completed");
  });

  it("that only the stream knows are asked for", () => {
    const state = stateAfter(ended);
    expect(state.processesWanted).toBe(1);
    expect(state.processes.get("p")?.complete).toBe(false);
  });

  it("are listed in the order of their start", () => {
    const processes = [process("late", "running", "2024-02"), process("early", "failed", "2024-01")];
    expect([...stateAfter({ type: "process_list", processes }).processes.keys()]).toEqual(["early", "late"]);
  });

  it("say how they ended", () => {
    const base = {
      id: "p",
      sandboxId: "s",
      command: null,
      title: "",
      pty: true,
      complete: true,
      exitCode: null,
      signal: null,
      reason: null,
    };
    expect(statusText({ ...base, status: "failed", exitCode: 3 })).toBe("exit 3");
    expect(statusText({ ...base, status: "failed", signal: "KILL" })).toBe("signal KILL");
    expect(statusText({ ...base, status: "failed", reason: "out_of_memory" })).toBe("out of memory");
    expect(statusText({ ...base, status: "cancelled" })).toBe("stopped");
  });

  it("keep a terminal in front", () => {
    const opened = stateAfter(
      { type: "terminal_opened", processId: "p", activate: false },
      { type: "terminal_opened", processId: "q", activate: false },
    );
    expect(opened.activeTerminal).toBe("p");
    expect(reduce(opened, { type: "terminal_closed", processId: "p" }).activeTerminal).toBe("q");
  });
});

describe("the tree", () => {
  const files = [file("f", "/b.txt"), file("d", "/z", "", true), file("i", "/z/i10"), file("j", "/z/i9")];

  it("lists directories first, and only open ones' contents", () => {
    expect(treeRows(files, new Set()).map((row) => row.name)).toEqual(["z", "b.txt"]);
    expect(treeRows(files, new Set(["/z"])).map((row) => `${row.level}${row.name}`)).toEqual([
      "1z",
      "2i9",
      "2i10",
      "1b.txt",
    ]);
  });

  it("tells each row's place among those of its directory", () => {
    const rows = treeRows(files, new Set(["/z"]));
    expect(rows.map((row) => `${row.name} ${row.place}/${row.siblings}`)).toEqual([
      "z 1/2",
      "i9 1/2",
      "i10 2/2",
      "b.txt 2/2",
    ]);
  });
});

describe("the sandbox", () => {
  const workspace = { id: "w", name: "x", role: "owner", sandbox: null } as unknown as Workspace;

  it("is remembered when it has ended, so that why it did can be shown", () => {
    const ended = { id: "s", status: "terminated", reason: "idle" } as const;
    const state = stateAfter({ type: "sandbox", sandbox: ended }, { type: "workspace", workspace });
    expect(state.sandbox).toEqual(ended);
  });
});

it("opens a file behind the one in front when it is only restored", () => {
  const [a, b] = [file("a", "/a"), file("b", "/b")];
  const state = stateAfter(list(a, b), open(a), { type: "tab_opened", file: b, unreadable: null, activate: false });
  expect(state.tabs.map((tab) => tab.fileId)).toEqual(["a", "b"]);
  expect(state.activeFile).toBe("a");
});

it("asks for the list when a file came with a directory that it does not know", () => {
  expect(stateAfter({ type: "files_written", files: [file("a", "/new/a.txt")] }).filesWanted).toBe(1);
  expect(stateAfter({ type: "files_written", files: [file("a", "/a.txt")] }).filesWanted).toBe(0);
});

it("takes an upload whole: what it replaced, what it moved, and the folders it came with", () => {
  const before = stateAfter(list(file("a", "/a.txt"), file("b", "/b.txt")));
  const folder = file("d", "/d", "", true);
  const after = reduce(before, {
    type: "files_written",
    files: [file("a", "/a.txt", "2"), folder, file("c", "/d/c.txt"), file("b", "/d/b.txt")],
  });
  expect([...after.files.values()].map((each) => each.path)).toEqual(["/a.txt", "/d/b.txt", "/d", "/d/c.txt"]);
  expect(after.files.get("a")?.etag).toBe("2");
  expect(after.filesWanted).toBe(0);
});

it("follows uploads to their end", () => {
  const transfer = { id: 1, label: "x", sent: 1, total: 2 };
  const state = stateAfter({ type: "transfer", transfer }, { type: "transfer", transfer: { ...transfer, sent: 2 } });
  expect(state.transfers).toEqual([{ ...transfer, sent: 2 }]);
  expect(reduce(state, { type: "transfer_over", id: 1 }).transfers).toEqual([]);
});

it("says only that the workspace is gone once it is", () => {
  const state = stateAfter({ type: "notice", tone: "error", text: "No such workspace" }, { type: "gone", why: "gone" });
  expect(state.notices).toEqual([]);
});

it("shows the same notice once", () => {
  const notice: Action = { type: "notice", tone: "error", text: "no" };
  const state = stateAfter(notice, notice);
  expect(state.notices.length).toBe(1);
  expect(reduce(state, { type: "notice_read", id: state.notices[0]?.id ?? 0 }).notices).toEqual([]);
});
