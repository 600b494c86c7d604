/** One program's terminal. It lives as long as its tab, shown or not, and parses output all the while. */

import { FitAddon } from "@xterm/addon-fit";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { Terminal } from "@xterm/xterm";
import { isReport } from "../../core/stream/reports.ts";

/** Lines kept above the screen. The server keeps bytes; this bounds the page's memory. */
const SCROLLBACK_LINES = 20_000;

export interface TerminalOptions {
  pty: boolean;
  onInput: (bytes: Uint8Array) => void;
  onSize: (cols: number, rows: number) => void;
}

const THEME = {
  background: "#0f1319",
  foreground: "#d6dbe5",
  cursor: "#7ee0b8",
  cursorAccent: "#0f1319",
  selectionBackground: "#2c3a52",
  black: "#566073",
  red: "#ff8a80",
  green: "#8fdc9a",
  yellow: "#f0d27a",
  blue: "#82b7ff",
  magenta: "#c79bf0",
  cyan: "#6fd6d6",
  white: "#d6dbe5",
  brightBlack: "#7d889b",
  brightRed: "#ffaaa2",
  brightGreen: "#aef0b8",
  brightYellow: "#ffe69a",
  brightBlue: "#a9ceff",
  brightMagenta: "#ddbfff",
  brightCyan: "#98ecec",
  brightWhite: "#ffffff",
};

export class TerminalHandle {
  readonly element = document.createElement("div");
  readonly #terminal: Terminal;
  readonly #fit = new FitAddon();
  #opened = false;
  /** Replayed writes that are not parsed yet. */
  #replaying = 0;

  constructor(options: TerminalOptions) {
    this.element.className = "terminal-host";
    this.#terminal = new Terminal({
      cols: 80,
      rows: 24,
      scrollback: SCROLLBACK_LINES,
      // A pipe's lines end with LF alone.
      convertEol: !options.pty,
      cursorBlink: false,
      fontFamily: '"JetBrains Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace',
      fontSize: 13,
      lineHeight: 1.15,
      theme: THEME,
      disableStdin: true,
    });
    this.#terminal.loadAddon(this.#fit);
    this.#terminal.loadAddon(new WebLinksAddon());
    const encoder = new TextEncoder();
    this.#terminal.onData((data) => {
      if (this.#replaying > 0 && isReport(data)) return;
      if (!this.#terminal.options.disableStdin) options.onInput(encoder.encode(data));
    });
    this.#terminal.onBinary((data) => {
      if (!this.#terminal.options.disableStdin) options.onInput(Uint8Array.from(data, (c) => c.charCodeAt(0) & 0xff));
    });
    this.#terminal.onResize(({ cols, rows }) => options.onSize(cols, rows));
    this.#terminal.attachCustomKeyEventHandler((event) => {
      // Ctrl-C is the program's; with Shift it copies, as in other terminals.
      if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey || event.code !== "KeyC") return true;
      event.preventDefault();
      const selection = this.#terminal.getSelection();
      if (selection !== "") void navigator.clipboard.writeText(selection).catch(() => undefined);
      return false;
    });
  }

  /** Writes output; `shown` is called when it is parsed, which is what flow control counts. */
  write(bytes: Uint8Array, replayed: boolean, shown: () => void): void {
    if (replayed) this.#replaying += 1;
    this.#terminal.write(bytes, () => {
      if (replayed) this.#replaying -= 1;
      shown();
    });
  }

  /** A line of the page's own, told apart by its colour. */
  remark(text: string): void {
    this.#terminal.write(`\r\n\x1b[0;90m${text}\x1b[0m\r\n`);
  }

  /** Starts over, because the output does. */
  restart(): void {
    this.#terminal.write("\x1bc\x1b[3J");
  }

  setWritable(writable: boolean): void {
    this.#terminal.options.disableStdin = !writable;
    this.#terminal.options.cursorInactiveStyle = writable ? "outline" : "none";
  }

  /** Puts the terminal into `parent`, and fits it. */
  show(parent: HTMLElement): void {
    if (this.element.parentElement !== parent) parent.replaceChildren(this.element);
    if (!this.#opened) {
      this.#opened = true;
      this.#terminal.open(this.element);
      void this.#accelerate();
    }
    this.fit();
  }

  fit(): void {
    if (this.#opened && this.element.clientHeight > 0) this.#fit.fit();
  }

  focus(): void {
    this.#terminal.focus();
  }

  get size(): { cols: number; rows: number } {
    return { cols: this.#terminal.cols, rows: this.#terminal.rows };
  }

  /** All text that is kept, wrapped lines joined. */
  text(): string {
    const buffer = this.#terminal.buffer.active;
    const lines: string[] = [];
    for (let at = 0; at < buffer.length; at += 1) {
      const line = buffer.getLine(at);
      if (line === undefined) continue;
      const wraps = buffer.getLine(at + 1)?.isWrapped ?? false;
      const text = line.translateToString(!wraps);
      if (line.isWrapped && lines.length > 0) lines[lines.length - 1] += text;
      else lines.push(text);
    }
    return lines.join("\n").trimEnd();
  }

  dispose(): void {
    this.#terminal.dispose();
    this.element.remove();
  }

  /** Draws by WebGL where there is a graphics card; a software one is slower than the DOM. */
  async #accelerate(): Promise<void> {
    const probe = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
    if (probe === null) return;
    probe.getExtension("WEBGL_lose_context")?.loseContext();
    try {
      const { WebglAddon } = await import("@xterm/addon-webgl");
      const addon = new WebglAddon();
      addon.onContextLoss(() => addon.dispose());
      this.#terminal.loadAddon(addon);
    } catch {
      // The DOM renderer stays.
    }
  }
}
