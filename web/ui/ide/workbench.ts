/** Wires one workspace's page: state, files, programs, stream. Components get it whole and only render. */

import { createEffect, createMemo, createSignal, on, onCleanup } from "solid-js";
import type { Api } from "../../core/api.ts";
import type { SandboxStatus, Workspace } from "../../core/api-types.ts";
import { successor } from "../../core/model/files.ts";
import { reduce } from "../../core/model/reduce.ts";
import { hasEnded, sandboxState } from "../../core/model/sandbox.ts";
import {
  type Action,
  type IdeState,
  INITIAL,
  isRunning,
  mayEdit,
  type SandboxState,
  workspaceOf,
} from "../../core/model/state.ts";
import { Problem, sentence, Unreachable } from "../../core/problem.ts";
import { Documents } from "../editor/documents.ts";
import { coalesce } from "./coalesce.ts";
import type { IdeContext } from "./context.ts";
import { attempt, tell } from "./failure.ts";
import { FileActions } from "./file-actions.ts";
import { recall, remember } from "./memory.ts";
import { RunActions } from "./run-actions.ts";
import { type PageEffect, StreamShell } from "./stream-shell.ts";
import { UploadActions } from "./upload-actions.ts";

/** How often a workspace without a running sandbox is looked at: nothing tells the page of changes then. */
const POLL_MS = 4000;

export class Workbench {
  readonly context: IdeContext;
  readonly documents: Documents;
  readonly files: FileActions;
  readonly uploads: UploadActions;
  readonly runs: RunActions;
  readonly #stream: StreamShell;
  /** Sandboxes that the stream said are over, whatever an older answer says. */
  readonly #ended = new Set<string>();
  readonly #reloading = new Set<string>();
  #running = false;
  #accessAsked = Number.NEGATIVE_INFINITY;
  /** What was open before a reload is open again, so what is open now may be remembered instead. */
  #restored = false;

  constructor(api: Api, workspaceId: string, signedOut: () => void) {
    const [state, setState] = createSignal<IdeState>(INITIAL);
    const dispatch = (action: Action): void => void setState((before) => reduce(before, action));
    this.context = { api, workspaceId, state, dispatch, signedOut };
    this.documents = new Documents((fileId, dirty) => dispatch({ type: "tab_edited", fileId, dirty }));
    this.#stream = new StreamShell(api, (effect) => this.#onStream(effect));
    this.files = new FileActions(this.context, this.documents);
    this.uploads = new UploadActions(this.context);
    this.runs = new RunActions(this.context, this.#stream);
    this.#follow();
    const poll = setInterval(() => {
      if (this.#stream.sandboxId === null && !document.hidden && workspaceOf(state()) !== null) void this.refresh();
    }, POLL_MS);
    window.addEventListener("pagehide", this.#remember);
    window.addEventListener("online", this.#onOnline);
    window.addEventListener("offline", this.#onOffline);
    onCleanup(() => {
      this.#remember();
      window.removeEventListener("pagehide", this.#remember);
      window.removeEventListener("online", this.#onOnline);
      window.removeEventListener("offline", this.#onOffline);
      clearInterval(poll);
      this.#stream.dispose();
      this.runs.dispose();
      this.documents.unmount();
    });
    void this.#begin();
  }

  get state(): IdeState {
    return this.context.state();
  }

  /** Looks at the workspace anew: its name, role, files, and whether a sandbox runs. */
  readonly refresh = coalesce(async () => {
    const { api, dispatch, workspaceId, signedOut } = this.context;
    try {
      const { files, ...workspace } = await api.workspace(workspaceId);
      dispatch({ type: "workspace", workspace });
      dispatch({ type: "file_list", files });
      this.#reached(true);
      this.#join(workspace);
    } catch (error) {
      if (error instanceof Problem && error.status === 401) signedOut();
      else if (error instanceof Problem && (error.status === 404 || error.status === 403)) {
        dispatch({
          type: "gone",
          why: "This workspace does not exist, or you have no access to it. Its owner can share it with you.",
        });
      } else if (this.state.presence.kind === "loading") {
        dispatch({ type: "gone", why: sentence(error) });
      } else if (error instanceof Unreachable) {
        this.#reached(false);
      } else {
        tell(this.context, error);
      }
    }
  });

  /** Without a sandbox there is no stream to tell of a lost connection; asking for news does. */
  #reached(reached: boolean): void {
    const { connection, presence } = this.state;
    if (presence.kind !== "open" || this.#stream.sandboxId !== null || reached === (connection === "off")) return;
    this.context.dispatch({ type: "connection", connection: reached ? "off" : "reconnecting" });
  }

  readonly #onOnline = (): void => void this.refresh();
  readonly #onOffline = (): void => this.#reached(false);

  readonly #listFiles = coalesce(async () => {
    const { api, dispatch, workspaceId } = this.context;
    await attempt(this.context, async () => dispatch({ type: "file_list", files: await api.files(workspaceId) }));
  });

  readonly #listProcesses = coalesce(async () => {
    const { api, dispatch, workspaceId } = this.context;
    await attempt(this.context, async () =>
      dispatch({ type: "process_list", processes: await api.processes(workspaceId) }),
    );
  });

  async #begin(): Promise<void> {
    const { api, dispatch, workspaceId } = this.context;
    const memory = recall(workspaceId);
    // First the list: a program's terminal depends on what kind of program it is.
    await this.#listProcesses();
    await this.refresh();
    const workspace = workspaceOf(this.state);
    if (workspace === null) return;
    await attempt(this.context, async () => {
      const templates = await api.templates();
      dispatch({ type: "template", template: templates.find((each) => each.name === workspace.template) ?? null });
    });
    for (const fileId of memory.files) {
      if (this.state.files.has(fileId)) await this.files.open(fileId, false);
      // Whoever opened a file meanwhile gets it in front.
      if (fileId === memory.activeFile && !this.files.asked) dispatch({ type: "tab_active", fileId });
    }
    for (const id of memory.terminals) {
      if (this.state.processes.has(id)) this.runs.show(id, id === memory.activeTerminal);
    }
    this.#restored = true;
  }

  /** Connects to the workspace's sandbox where there is one. */
  #join(workspace: Workspace): void {
    const { sandbox } = workspace;
    if (sandbox === null || hasEnded(sandbox.status)) return;
    if (!this.#ended.has(sandbox.id)) this.#stream.feed({ type: "start", sandboxId: sandbox.id, token: null });
  }

  #onStream(effect: PageEffect): void {
    const { dispatch, signedOut } = this.context;
    switch (effect.type) {
      case "connection":
        dispatch({ type: "connection", connection: effect.connection });
        break;
      case "hello":
        dispatch({ type: "role", role: effect.role });
        for (const { processId, status } of effect.processes) {
          if (status === "running" || status === "pending") this.runs.announce(processId);
        }
        void this.#listProcesses();
        void this.#listFiles();
        break;
      case "output":
        this.runs.output(effect);
        break;
      case "restart_output":
        this.runs.restart(effect.processId);
        break;
      case "truncated": {
        const amount = effect.bytes > 0 ? `${effect.bytes} bytes of output` : "some output";
        this.runs.terminal(effect.processId)?.remark(`[${amount} no longer kept]`);
        break;
      }
      case "status": {
        const known = this.state.processes.has(effect.processId);
        const sandboxId = this.#stream.sandboxId ?? "";
        dispatch({ type: "process_status", processId: effect.processId, sandboxId, ...effect.state });
        if (!known && isRunning(this.state.processes.get(effect.processId))) this.runs.announce(effect.processId);
        this.runs.syncWritable(effect.processId);
        this.runs.noteEnd(effect.processId);
        break;
      }
      case "files":
        dispatch({ type: "files_changed", changed: effect.changed, removed: effect.removed });
        break;
      case "sandbox":
        dispatch({ type: "sandbox", sandbox: this.#sandboxNow(effect.status, effect.reason) });
        break;
      case "notice":
        dispatch({ type: "notice", tone: "info", text: effect.detail });
        break;
      case "access_changed":
        // If a new socket is refused too, the poll looks again; asking at once would go round and round.
        if (performance.now() - this.#accessAsked < POLL_MS) break;
        this.#accessAsked = performance.now();
        void this.refresh();
        break;
      case "sandbox_gone":
        this.#ended.add(effect.sandboxId);
        void this.#learnEnd(effect.sandboxId);
        void this.refresh();
        break;
      case "signed_out":
        signedOut();
        break;
    }
  }

  /** What the stream says of its sandbox; a message without a reason leaves the one that is known. */
  #sandboxNow(status: SandboxStatus, reason: string | null): SandboxState {
    const id = this.#stream.sandboxId ?? "";
    const known = this.state.sandbox;
    return { id, status, reason: reason ?? (known?.id === id && known.status === status ? known.reason : null) };
  }

  /** Asks why a sandbox ended: its last message may not have come through. */
  async #learnEnd(sandboxId: string): Promise<void> {
    const { api, dispatch } = this.context;
    try {
      dispatch({ type: "sandbox", sandbox: sandboxState(await api.sandbox(sandboxId)) });
    } catch {
      dispatch({ type: "sandbox", sandbox: { id: sandboxId, status: "terminated", reason: null } });
    }
  }

  /** What the Run button does. A second click before the first has done its work is the same one. */
  async saveAndRun(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      if (await this.files.saveAll()) await this.runs.runActive();
    } finally {
      this.#running = false;
    }
  }

  /** Tries at once to connect again. */
  reconnect(): void {
    this.#stream.feed({ type: "retry" });
    if (this.#stream.sandboxId === null) void this.refresh();
  }

  /** Makes a sandbox, or wakes the suspended one. */
  async startSandbox(): Promise<void> {
    const { api, workspaceId } = this.context;
    await attempt(this.context, async () => {
      const sandbox = await api.startSandbox(workspaceId);
      this.context.dispatch({ type: "sandbox", sandbox: sandboxState(sandbox) });
      if (sandbox.status === "suspended") await api.resumeSandbox(sandbox.id);
      this.#stream.feed({ type: "start", sandboxId: sandbox.id, token: sandbox.stream_token });
    });
  }

  async suspendSandbox(): Promise<void> {
    const { sandbox } = this.state;
    if (sandbox !== null) await attempt(this.context, () => this.context.api.suspendSandbox(sandbox.id));
  }

  async endSandbox(): Promise<void> {
    const { sandbox } = this.state;
    if (sandbox !== null) await attempt(this.context, () => this.context.api.endSandbox(sandbox.id));
  }

  /** Keeps what is open for a reload of the page. */
  readonly #remember = (): void => {
    if (!this.#restored) return;
    const { tabs, activeFile, terminals, activeTerminal } = this.state;
    const files = tabs.map((tab) => tab.fileId);
    remember(this.context.workspaceId, { files, activeFile, terminals: [...terminals], activeTerminal });
  };

  /** What follows from the state by itself. */
  #follow(): void {
    const { state } = this.context;
    // Memos, so that an effect runs when its value changes and not whenever anything in the state does.
    const filesWanted = createMemo(() => state().filesWanted);
    const processesWanted = createMemo(() => state().processesWanted);
    const editable = createMemo(() => mayEdit(state()));
    createEffect(on(filesWanted, () => void this.#listFiles(), { defer: true }));
    createEffect(on(processesWanted, () => void this.#listProcesses(), { defer: true }));
    createEffect(
      on(editable, (may) => {
        this.documents.setReadOnly(!may);
        this.runs.syncAllWritable();
      }),
    );
    // An open file's name decides its language, and what it is called for those who don't see it.
    createEffect(() => {
      for (const tab of state().tabs) this.documents.rename(tab.fileId, tab.path);
    });
    // What was removed and has come back is the same file to whoever has it open.
    createEffect(() => {
      for (const tab of state().tabs) {
        const file = successor(state(), tab);
        if (file !== undefined) this.files.adopt(tab.fileId, file.id);
      }
    });
    // A clean open file follows the server's text.
    createEffect(() => {
      for (const tab of state().tabs) {
        if (tab.stale === "changed" && !tab.dirty && tab.unreadable === null) void this.#reloadOnce(tab.fileId);
      }
    });
  }

  async #reloadOnce(fileId: string): Promise<void> {
    if (this.#reloading.has(fileId)) return;
    this.#reloading.add(fileId);
    await this.files.reload(fileId);
    this.#reloading.delete(fileId);
  }
}
