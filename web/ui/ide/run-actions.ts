/** Programs and their terminals: starting, showing, typing, stopping. */

import { createEffect, createRoot } from "solid-js";
import { commandTitle, runCommandFor } from "../../core/command.ts";
import { captionFrom } from "../../core/model/labels.ts";
import { statusText } from "../../core/model/processes.ts";
import { isRunning, mayEdit } from "../../core/model/state.ts";
import { sizeText } from "../../core/size.ts";
import type { StreamEffect } from "../../core/stream/events.ts";
import { Skim } from "../../core/stream/skim.ts";
import { dark } from "../appearance.ts";
import { TerminalHandle } from "../terminal/terminal.ts";
import { uuid } from "../uuid.ts";
import type { IdeContext } from "./context.ts";
import { attempt } from "./failure.ts";
import type { StreamShell } from "./stream-shell.ts";

/** Programs that others start open a terminal by themselves only up to this many. */
const AUTO_TERMINALS = 8;
/** A terminal that is not fitted yet has this size. */
const DEFAULT_SIZE = { cols: 100, rows: 24 };

type Command = string | string[];
type Output = Extract<StreamEffect, { type: "output" }>;

/** The byte that Ctrl-C types. */
const INTERRUPT = 0x03;

export class RunActions {
  readonly #context: IdeContext;
  readonly #stream: StreamShell;
  readonly #terminals = new Map<string, TerminalHandle>();
  readonly #skims = new Map<string, Skim>();
  readonly #disposeTheme: () => void;

  constructor(context: IdeContext, stream: StreamShell) {
    this.#context = context;
    this.#stream = stream;
    this.#disposeTheme = createRoot((dispose) => {
      createEffect(() => {
        const now = dark();
        for (const terminal of this.#terminals.values()) terminal.setDark(now);
      });
      return dispose;
    });
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

  /** Runs a program once more, in the place of the one that ended. */
  async again(processId: string): Promise<void> {
    const process = this.#context.state().processes.get(processId);
    if (process?.command != null && !isRunning(process)) await this.run(process.command);
  }

  async run(command: Command): Promise<void> {
    const { api, dispatch, state, workspaceId } = this.#context;
    if (!mayEdit(state())) return;
    const active = state().activeTerminal;
    const size = (active === null ? undefined : this.#terminals.get(active)?.size) ?? DEFAULT_SIZE;
    const env = { TERM: "xterm-256color", COLORTERM: "truecolor" };
    await attempt(this.#context, async () => {
      const started = await api.run(workspaceId, { command, pty: true, env, ...size }, uuid());
      const { process_id, sandbox_id, stream_token } = started;
      dispatch({
        type: "process_seen",
        process: {
          id: process_id,
          sandboxId: sandbox_id,
          command,
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
      this.#closeEnded(commandTitle(command));
      this.show(process_id, true);
      this.#terminals.get(process_id)?.focus();
    });
  }

  async stop(processId: string): Promise<void> {
    this.#skims.get(processId)?.interrupt(Date.now());
    await attempt(this.#context, () => this.#context.api.cancel(processId));
  }

  /** Opens a program's terminal, replaying what it has written; `activate` brings it to the front. */
  show(processId: string, activate: boolean): void {
    if (!this.#terminals.has(processId)) {
      const process = this.#context.state().processes.get(processId);
      const terminal = this.#newTerminal(processId, process?.pty ?? true);
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
    if (!isRunning(this.#context.state().processes.get(processId))) this.#forget(processId);
  }

  /** Lets a terminal go that nobody looks at; it comes again from the output that is kept. */
  #forget(processId: string): void {
    this.#terminals.get(processId)?.dispose();
    this.#terminals.delete(processId);
    this.#skims.delete(processId);
    this.#stream.feed({ type: "detach", processId });
  }

  terminal(processId: string): TerminalHandle | undefined {
    return this.#terminals.get(processId);
  }

  output({ processId, id, timestamp, bytes, replayed }: Output): void {
    const shown = (): void => this.#stream.feed({ type: "shown", processId, id, bytes: bytes.length });
    const terminal = this.#terminals.get(processId);
    const skim = this.#skims.get(processId);
    if (terminal === undefined || skim?.draws(timestamp, Date.now(), bytes.length) === false) {
      shown();
      return;
    }
    this.#notePassed(processId);
    terminal.write(bytes, replayed, shown);
  }

  /** Its output comes again from the first byte. */
  restart(processId: string): void {
    this.#skims.get(processId)?.reset();
    this.#terminals.get(processId)?.restart();
  }

  /** Writes below the output how the program ended, once. */
  noteEnd(processId: string): void {
    const process = this.#context.state().processes.get(processId);
    if (process === undefined || isRunning(process)) return;
    this.#notePassed(processId);
    const hint = mayEdit(this.#context.state()) ? "; Enter runs it again" : "";
    this.#terminals.get(processId)?.end(`[${statusText(process)}${hint}]`);
    // Where its tab was closed while it ran nobody looks, once all that came is counted.
    const hidden = () => !this.#context.state().terminals.includes(processId);
    if (hidden()) this.#terminals.get(processId)?.whenDrawn(() => hidden() && this.#forget(processId));
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
    this.#disposeTheme();
    for (const terminal of this.#terminals.values()) terminal.dispose();
    this.#terminals.clear();
  }

  /** Says so where output was passed over. */
  #notePassed(processId: string): void {
    const passed = this.#skims.get(processId)?.takePassed() ?? 0;
    if (passed === 0) return;
    this.#terminals
      .get(processId)
      ?.remark(`[${sizeText(passed)} passed over to stop at once; the download has it all]`);
  }

  #newTerminal(processId: string, pty: boolean): TerminalHandle {
    const skim = new Skim();
    this.#skims.set(processId, skim);
    return new TerminalHandle({
      pty,
      dark: dark(),
      onInput: (bytes) => {
        if (bytes.includes(INTERRUPT)) skim.interrupt(Date.now());
        this.#stream.feed({ type: "input", processId, bytes });
      },
      onSize: (cols, rows) => this.#resized(processId, cols, rows),
      onTitle: (sent) => this.#context.dispatch({ type: "terminal_caption", processId, caption: captionFrom(sent) }),
      onAgain: () => void this.again(processId),
    });
  }

  /** What ran by the same name before and is over makes room for its next run. */
  #closeEnded(title: string): void {
    const { processes, terminals } = this.#context.state();
    for (const id of terminals) {
      const process = processes.get(id);
      if (process !== undefined && process.title === title && !isRunning(process)) this.close(id);
    }
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
      this.noteEnd(processId);
    });
  }
}
