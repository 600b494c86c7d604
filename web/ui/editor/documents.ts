/** The texts of the open files: one editor view, and a state per file that it shows in turn. */

import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { bracketMatching, foldGutter, foldKeymap, indentOnInput, indentUnit } from "@codemirror/language";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, type Extension, type Text, type TransactionSpec } from "@codemirror/state";
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  highlightSpecialChars,
  keymap,
  lineNumbers,
  rectangularSelection,
} from "@codemirror/view";
import { extension } from "../../core/paths.ts";
import { languageFor } from "./languages.ts";
import { editorTheme } from "./theme.ts";

interface OpenDocument {
  fileId: string;
  path: string;
  state: EditorState;
  /** The text as the server has it. */
  saved: Text;
  scroll: number;
}

export class Documents {
  readonly #open = new Map<string, OpenDocument>();
  readonly #onEdited: (fileId: string, dirty: boolean) => void;
  readonly #language = new Compartment();
  /** What follows from a file's name, beside its language. */
  readonly #named = new Compartment();
  readonly #access = new Compartment();
  #view: EditorView | null = null;
  #shown: string | null = null;
  #readOnly = false;

  constructor(onEdited: (fileId: string, dirty: boolean) => void) {
    this.#onEdited = onEdited;
  }

  /** Puts the editor into the page. */
  mount(parent: HTMLElement): void {
    this.#view = new EditorView({ parent, state: EditorState.create({ extensions: [editorTheme] }) });
  }

  unmount(): void {
    this.#view?.destroy();
    this.#view = null;
    this.#shown = null;
  }

  open(fileId: string, path: string, text: string): void {
    // Which file it is may change; the text's own listener asks for it by then.
    const owner = { fileId };
    const state = EditorState.create({ doc: text, extensions: this.#extensions(owner, path, text) });
    this.#open.set(fileId, Object.assign(owner, { path, state, saved: state.doc, scroll: 0 }));
    this.#loadLanguage(fileId, path);
  }

  /** The file has another path now; its text, cursor and history stay. */
  rename(fileId: string, path: string): void {
    const document = this.#open.get(fileId);
    if (document === undefined || document.path === path) return;
    document.path = path;
    this.#apply(fileId, { effects: [this.#named.reconfigure(namedBy(path)), this.#language.reconfigure([])] });
    this.#loadLanguage(fileId, path);
  }

  /** Another file took the place of the one whose text this was. */
  adopt(fileId: string, by: string): void {
    const document = this.#open.get(fileId);
    if (document === undefined || this.#open.has(by)) return;
    this.#open.delete(fileId);
    document.fileId = by;
    this.#open.set(by, document);
    if (this.#shown === fileId) this.#shown = by;
  }

  close(fileId: string): void {
    this.#open.delete(fileId);
    if (this.#shown === fileId) this.#shown = null;
  }

  /** Shows a file, or nothing; false where it is shown already. */
  show(fileId: string | null): boolean {
    const view = this.#view;
    if (view === null || fileId === this.#shown) return false;
    this.#keep();
    this.#shown = fileId;
    const next = fileId === null ? undefined : this.#open.get(fileId);
    if (next === undefined) return false;
    view.setState(next.state);
    view.requestMeasure({ read: () => undefined, write: () => (view.scrollDOM.scrollTop = next.scroll) });
    return true;
  }

  focus(): void {
    this.#view?.focus();
  }

  has(fileId: string): boolean {
    return this.#open.has(fileId);
  }

  /** The text to save, with the line ends it was opened with, and the snapshot that says what was saved. */
  snapshot(fileId: string): { text: string; doc: Text } | null {
    const state = this.#state(fileId);
    return state === null ? null : { text: state.sliceDoc(), doc: state.doc };
  }

  /** `doc` is what the server now has; whether the text went on since is answered. */
  markSaved(fileId: string, doc: Text): boolean {
    const document = this.#open.get(fileId);
    if (document === undefined) return false;
    document.saved = doc;
    return this.isDirty(fileId);
  }

  isDirty(fileId: string): boolean {
    const document = this.#open.get(fileId);
    const state = this.#state(fileId);
    return document !== undefined && state !== null && !state.doc.eq(document.saved);
  }

  /** The server's newer text takes the place of this one; what did not change keeps cursor and scroll. */
  replace(fileId: string, text: string): void {
    const state = this.#state(fileId);
    const document = this.#open.get(fileId);
    if (state === null || document === undefined) return;
    const wanted = state.toText(text);
    document.saved = wanted;
    const before = state.doc.toString();
    const after = wanted.toString();
    let from = 0;
    while (from < before.length && from < after.length && before[from] === after[from]) from += 1;
    let tail = 0;
    const most = Math.min(before.length, after.length) - from;
    while (tail < most && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail += 1;
    const insert = wanted.slice(from, after.length - tail);
    this.#apply(fileId, { changes: { from, to: before.length - tail, insert } });
  }

  setReadOnly(readOnly: boolean): void {
    if (readOnly === this.#readOnly) return;
    this.#readOnly = readOnly;
    for (const fileId of this.#open.keys()) {
      this.#apply(fileId, { effects: this.#access.reconfigure(accessOf(readOnly)) });
    }
  }

  #loadLanguage(fileId: string, path: string): void {
    const document = this.#open.get(fileId);
    // A language that can't be loaded leaves plain text.
    languageFor(path)?.().then(
      (language) => {
        if (document?.path !== path) return;
        this.#apply(document.fileId, { effects: this.#language.reconfigure(language) });
      },
      () => undefined,
    );
  }

  #state(fileId: string): EditorState | null {
    if (fileId === this.#shown && this.#view !== null) return this.#view.state;
    return this.#open.get(fileId)?.state ?? null;
  }

  #apply(fileId: string, change: TransactionSpec): void {
    const document = this.#open.get(fileId);
    if (document === undefined) return;
    if (fileId === this.#shown && this.#view !== null) this.#view.dispatch(change);
    else document.state = document.state.update(change).state;
  }

  #keep(): void {
    const shown = this.#shown === null ? undefined : this.#open.get(this.#shown);
    if (shown === undefined || this.#view === null) return;
    shown.state = this.#view.state;
    shown.scroll = this.#view.scrollDOM.scrollTop;
  }

  #extensions(owner: { readonly fileId: string }, path: string, text: string): Extension[] {
    return [
      // A file of CRLF lines is saved as one; in any other a lone CR is a character like others, and kept.
      EditorState.lineSeparator.of(/\r\n/.test(text) && !/(^|[^\r])\n/.test(text) ? "\r\n" : "\n"),
      EditorState.tabSize.of(4),
      EditorState.allowMultipleSelections.of(true),
      lineNumbers(),
      foldGutter(),
      highlightSpecialChars(),
      history(),
      drawSelection(),
      rectangularSelection(),
      indentOnInput(),
      bracketMatching(),
      closeBrackets(),
      autocompletion(),
      highlightActiveLine(),
      highlightActiveLineGutter(),
      highlightSelectionMatches(),
      keymap.of([
        ...closeBracketsKeymap,
        ...defaultKeymap,
        ...searchKeymap,
        ...historyKeymap,
        ...foldKeymap,
        ...completionKeymap,
        indentWithTab,
      ]),
      this.#language.of([]),
      this.#access.of(accessOf(this.#readOnly)),
      this.#named.of(namedBy(path)),
      EditorView.updateListener.of((update) => {
        if (update.docChanged) this.#onEdited(owner.fileId, this.isDirty(owner.fileId));
      }),
      editorTheme,
    ];
  }
}

function namedBy(path: string): Extension {
  return [
    indentUnit.of(/^(js|jsx|ts|tsx|mjs|cjs|json|html|css|yml|yaml|md)$/.test(extension(path)) ? "  " : "    "),
    EditorView.contentAttributes.of({ "aria-label": `Editor: ${path}` }),
  ];
}

function accessOf(readOnly: boolean): Extension {
  return [
    EditorState.readOnly.of(readOnly),
    EditorView.editable.of(!readOnly),
    // What can't be edited takes no focus by itself, and without it there is no way to search or copy by keyboard.
    readOnly ? EditorView.contentAttributes.of({ tabindex: "0" }) : [],
  ];
}
