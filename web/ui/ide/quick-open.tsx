import { createMemo, createSignal, For, Show } from "solid-js";
import { findPaths, type Match } from "../../core/model/fuzzy.ts";
import { basename, parent } from "../../core/paths.ts";
import { Modal } from "../widgets/modal.tsx";
import type { Workbench } from "./workbench.ts";

/** More than these nobody reads through; another letter narrows them down. */
const SHOWN = 50;

/** Opens a file by a few letters of its path. */
export function QuickOpen(props: { bench: Workbench; onClose: () => void }) {
  const [query, setQuery] = createSignal("");
  const [at, setAt] = createSignal(0);
  let list: HTMLDivElement | undefined;
  const paths = createMemo(() =>
    [...props.bench.state.files.values()].filter((file) => !file.is_directory).map((file) => file.path),
  );
  const matches = createMemo(() => findPaths(paths(), query(), SHOWN));
  const open = (path: string | undefined): void => {
    const file = [...props.bench.state.files.values()].find((each) => each.path === path);
    if (file === undefined) return;
    props.onClose();
    void props.bench.files.open(file.id);
  };
  const move = (by: number): void => {
    const count = matches().length;
    if (count === 0) return;
    setAt((before) => (before + by + count) % count);
    list?.children[at()]?.scrollIntoView({ block: "nearest" });
  };
  return (
    <Modal title="Open a file" onClose={props.onClose}>
      <input
        class="quick-input"
        role="combobox"
        aria-label="Open a file"
        aria-expanded="true"
        aria-controls="quick-list"
        aria-activedescendant={matches().length === 0 ? undefined : `quick-${at()}`}
        placeholder="Some letters of its name or path"
        spellcheck={false}
        autocomplete="off"
        data-focus
        onInput={(event) => {
          setQuery(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown") move(1);
          else if (event.key === "ArrowUp") move(-1);
          else if (event.key === "Enter") open(matches()[at()]?.path);
          else return;
          event.preventDefault();
        }}
      />
      <div id="quick-list" class="quick-list" role="listbox" aria-label="Files found" ref={list}>
        <For each={matches()}>
          {(match, place) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the input has the focus and the keys
            <div
              id={`quick-${place()}`}
              role="option"
              tabIndex={-1}
              aria-selected={place() === at()}
              onClick={() => open(match.path)}
            >
              <Found match={match} />
            </div>
          )}
        </For>
      </div>
      <Show when={matches().length === 0}>
        <p class="quiet">{paths().length === 0 ? "No files yet." : "No file has these letters."}</p>
      </Show>
    </Modal>
  );
}

/** The name, then where it lies; what matched is marked. */
function Found(props: { match: Match }) {
  const { path } = props.match;
  const start = path.length - basename(path).length;
  const hits = new Set(props.match.at);
  const marked = (from: number, text: string) => {
    let at = from;
    // By whole characters, which may take two places.
    const letters = [...text].map((letter) => {
      const hit = hits.has(at);
      at += letter.length;
      return { letter, hit };
    });
    return <For each={letters}>{({ letter, hit }) => (hit ? <b>{letter}</b> : letter)}</For>;
  };
  return (
    <>
      <span class="quick-name">{marked(start, basename(path))}</span>
      <span class="quiet quick-path">{parent(path) === "/" ? "" : marked(0, parent(path))}</span>
    </>
  );
}
