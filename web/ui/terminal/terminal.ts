/** One program's terminal. It lives as long as its tab, shown or not, and parses output all the while. */

import { FitAddon } from "@xterm/addon-fit";
import type { ISearchOptions, SearchAddon } from "@xterm/addon-search";
import { UnicodeGraphemesAddon } from "@xterm/addon-unicode-graphemes";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { Terminal } from "@xterm/xterm";
import { isReport } from "../../core/stream/reports.ts";
import { type TouchKey, touchKey } from "../../core/terminal/touch-keys.ts";
import { copyText } from "../clipboard.ts";
import { applyCtrl } from "./ctrl.ts";
import { DARK, LIGHT } from "./themes.ts";

/** Lines kept above the screen. The server keeps bytes; this bounds the page's memory. */
const SCROLLBACK_LINES = 20_000;

export interface TerminalOptions {
  pty: boolean;
  onInput: (bytes: Uint8Array) => void;
  onSize: (cols: number, rows: number) => void;
  dark: boolean;
  /** The program names its terminal. */
  onTitle: (title: string) => void;
  /** Enter was pressed after the program had ended. */
  onAgain: () => void;
}

/** What a program may have left behind that would spoil what is shown after it: mouse, paste and style modes. */
const LEAVE_MODES = "\x1b[?1000;1002;1003;1006;2004l\x1b[0m\x1b[?25l";

export class TerminalHandle {
  readonly element = document.createElement("div");
  readonly #terminal: Terminal;
  readonly #fit = new FitAddon();
  #search: Promise<SearchAddon> | null = null;
  #dark: boolean;
  #ended = false;
  #opened = false;
  /** Replayed writes that are not parsed yet. */
  #replaying = 0;

  constructor(options: TerminalOptions) {
    this.element.className = "terminal-host";
    this.#dark = options.dark;
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
      theme: options.dark ? DARK : LIGHT,
      // Programs choose colours for dark screens; on a light one they must be readable too.
      minimumContrastRatio: 4.5,
      disableStdin: true,
      // Grapheme widths and search marks are proposed API.
      allowProposedApi: true,
      linkHandler: { activate: (_event, uri) => openLink(uri) },
    });
    this.#terminal.loadAddon(this.#fit);
    this.#terminal.loadAddon(new UnicodeGraphemesAddon());
    this.#terminal.loadAddon(new WebLinksAddon((_event, uri) => openLink(uri)));
    this.#terminal.onTitleChange((title) => options.onTitle(title));
    const encoder = new TextEncoder();
    this.#terminal.onData((data) => {
      if (this.#replaying > 0 && isReport(data)) return;
      if (!this.#terminal.options.disableStdin) options.onInput(encoder.encode(applyCtrl(data)));
    });
    this.#terminal.onBinary((data) => {
      if (!this.#terminal.options.disableStdin) options.onInput(Uint8Array.from(data, (c) => c.charCodeAt(0) & 0xff));
    });
    this.#terminal.onResize(({ cols, rows }) => options.onSize(cols, rows));
    this.#terminal.attachCustomKeyEventHandler((event) => {
      if (this.#ended && event.type === "keydown" && event.key === "Enter" && !event.repeat) {
        options.onAgain();
        return false;
      }
      // Ctrl-C is the program's; with Shift it copies, as in other terminals.
      if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey || event.code !== "KeyC") return true;
      event.preventDefault();
      const selection = this.#terminal.getSelection();
      if (selection !== "") void copyText(selection).catch(() => undefined);
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

  /** Calls back when all that was written is parsed. */
  whenDrawn(done: () => void): void {
    this.#terminal.write("", done);
  }

  /** A line of the page's own, told apart by its colour. */
  remark(text: string): void {
    this.#terminal.write(`\r\n${coloured(text)}\r\n`);
  }

  /** The program is over: says so below its output, once. */
  end(text: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#terminal.write(LEAVE_MODES, () => {
      // All before it is parsed: only now the cursor's column tells whether a line is open.
      const buffer = this.#terminal.buffer.active;
      const leave = buffer.type === "alternate" ? "\x1b[?1049l" : "";
      const open = leave !== "" || buffer.cursorX > 0 ? "\r\n" : "";
      this.#terminal.write(`${leave}${open}${coloured(text)}\r\n`);
    });
  }

  /** Finds the next place of `text`, or the one before; false where there is none. */
  async find(text: string, backwards: boolean): Promise<boolean> {
    const search = await this.#searcher();
    const options: ISearchOptions = {
      decorations: {
        matchBackground: this.#dark ? "#5a4a1f" : "#ffe8a3",
        activeMatchBackground: this.#dark ? "#8a6d1c" : "#ffc83d",
        matchOverviewRuler: "#8a6d1c",
        activeMatchColorOverviewRuler: "#ffc83d",
      },
    };
    return backwards ? search.findPrevious(text, options) : search.findNext(text, options);
  }

  clearSearch(): void {
    void this.#search?.then((search) => search.clearDecorations());
    this.#terminal.clearSelection();
  }

  setDark(dark: boolean): void {
    this.#dark = dark;
    this.#terminal.options.theme = dark ? DARK : LIGHT;
  }

  /** Starts over, because the output does. */
  restart(): void {
    this.#ended = false;
    this.#terminal.write("\x1bc\x1b[3J");
  }

  setWritable(writable: boolean): void {
    if (writable) this.#ended = false;
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

  /** A key of the row below, on its way as if it had been typed. */
  press(key: TouchKey): void {
    this.#terminal.input(touchKey(key, this.#terminal.modes.applicationCursorKeysMode));
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

  /** Loaded when somebody first looks for something. */
  #searcher(): Promise<SearchAddon> {
    this.#search ??= import("@xterm/addon-search").then(({ SearchAddon }) => {
      const search = new SearchAddon({ highlightLimit: 500 });
      this.#terminal.loadAddon(search);
      return search;
    });
    return this.#search;
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

function coloured(text: string): string {
  return `\x1b[0;90m${text}\x1b[0m`;
}

/** Opens a link that a program printed: only the web, and without a way back into this page. */
function openLink(uri: string): void {
  let url: URL;
  try {
    url = new URL(uri);
  } catch {
    return;
  }
  if (url.protocol === "http:" || url.protocol === "https:") window.open(url, "_blank", "noopener,noreferrer");
}
