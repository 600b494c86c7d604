/** Programs and their terminals: starting, showing, typing, stopping. */

import { commandTitle, runCommandFor } from "../../core/command.ts";
import { isRunning, mayEdit } from "../../core/model/state.ts";
import type { EventId } from "../../core/stream/event-id.ts";
import { TerminalHandle } from "../terminal/terminal.ts";
import type { IdeContext } from "./context.ts";
import { attempt } from "./failure.ts";
import type { StreamShell } from "./stream-shell.ts";

/** Programs that others start open a terminal by themselves only up to this many. */
const AUTO_TERMINALS = 8;
/** A terminal that is not fitted yet has this size. */
const DEFAULT_SIZE = { cols: 100, rows: 24 };

export class RunActions {
  readonly #context: IdeContext;
  readonly #stream: StreamShell;
  readonly #terminals = new Map<string, TerminalHandle>();

  constructor(context: IdeContext, stream: StreamShell) {
    this.#context = context;
    this.#stream = stream;
  }

  /** Runs the template's command on the open file. */
  async runActive(): Promise<void> {
    const state = this.#context.state();
    const path = state.tabs.find((tab) => tab.fileId === state.activeFile)?.path ?? null;
    const command = state.template === null ? null : runCommandFor(state.template.run_command, path);
    if (command !== null) await this.run(command);
  }

  async newTerminal(): Promise<void> {
    await this.run(["bash", "-l"]);
  }

  async run(command: string | string[]): Promise<void> {
    const { api, dispatch, state, workspaceId } = this.#context;
    const active = state().activeTerminal;
    const size = (active === null ? undefined : this.#terminals.get(active)?.size) ?? DEFAULT_SIZE;
    const env = { TERM: "xterm-256color", COLORTERM: "truecolor" };
    await attempt(this.#context, async () => {
      const started = await api.run(workspaceId, { command, pty: true, env, ...size }, crypto.randomUUID());
      const { process_id, sandbox_id, stream_token } = started;
      dispatch({
        type: "process_seen",
        process: {
          id: process_id,
          sandboxId: sandbox_id,
          title: commandTitle(command),
          pty: true,
          status: "pending",
          exitCode: null,
          signal: null,
          reason: null,
          complete: true,
        },
      });
      this.#stream.feed({ type: "start", sandboxId: sandbox_id, token: stream_token });
      this.show(process_id, true);
      this.#terminals.get(process_id)?.focus();
    });
  }

  async stop(processId: string): Promise<void> {
    await attempt(this.#context, () => this.#context.api.cancel(processId));
  }

  /** Opens a program's terminal, replaying what it has written; `activate` brings it to the front. */
  show(processId: string, activate: boolean): void {
    if (!this.#terminals.has(processId)) {
      const process = this.#context.state().processes.get(processId);
      const terminal = new TerminalHandle({
        pty: process?.pty ?? true,
        onInput: (bytes) => this.#stream.feed({ type: "input", processId, bytes }),
        onSize: (cols, rows) => this.#resized(processId, cols, rows),
      });
      this.#terminals.set(processId, terminal);
      // A program of an earlier sandbox has no stream any more; what is retained of it comes in one body.
      if (process !== undefined && process.sandboxId !== this.#stream.sandboxId)
        void this.#fetchOutput(processId, terminal);
      else this.#stream.feed({ type: "attach", processId });
    }
    this.#context.dispatch({ type: "terminal_opened", processId, activate });
    this.syncWritable(processId);
  }

  /** A program of which a message told: it gets a terminal of its own while there are few. */
  announce(processId: string): void {
    if (this.#terminals.has(processId) || this.#terminals.size >= AUTO_TERMINALS) return;
    this.show(processId, false);
  }

  /** Closes the tab. A program that runs goes on, and its terminal waits for it to be opened again. */
  close(processId: string): void {
    this.#context.dispatch({ type: "terminal_closed", processId });
    if (isRunning(this.#context.state().processes.get(processId))) return;
    this.#terminals.get(processId)?.dispose();
    this.#terminals.delete(processId);
    this.#stream.feed({ type: "detach", processId });
  }

  terminal(processId: string): TerminalHandle | undefined {
    return this.#terminals.get(processId);
  }

  output(processId: string, id: EventId, bytes: Uint8Array, replayed: boolean): void {
    const shown = (): void => this.#stream.feed({ type: "shown", processId, id, bytes: bytes.length });
    const terminal = this.#terminals.get(processId);
    if (terminal === undefined) shown();
    else terminal.write(bytes, replayed, shown);
  }

  /** Who may type where follows roles and statuses. */
  syncWritable(processId: string): void {
    const state = this.#context.state();
    const writable = mayEdit(state) && isRunning(state.processes.get(processId));
    this.#terminals.get(processId)?.setWritable(writable);
  }

  syncAllWritable(): void {
    for (const processId of this.#terminals.keys()) this.syncWritable(processId);
  }

  dispose(): void {
    for (const terminal of this.#terminals.values()) terminal.dispose();
    this.#terminals.clear();
  }

  #resized(processId: string, cols: number, rows: number): void {
    const state = this.#context.state();
    if (!mayEdit(state) || !isRunning(state.processes.get(processId))) return;
    this.#stream.feed({ type: "resize", processId, cols, rows });
  }

  async #fetchOutput(processId: string, terminal: TerminalHandle): Promise<void> {
    await attempt(this.#context, async () => {
      const answer = await fetch(`/api/processes/${processId}/output`);
      if (!answer.ok || answer.body === null) {
        terminal.remark("[its output is no longer kept]");
        return;
      }
      const reader = answer.body.getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        const bytes = part.value;
        await new Promise<void>((done) => terminal.write(bytes, true, done));
      }
    });
  }
}
