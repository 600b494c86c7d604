import {
  type Accessor,
  createComputed,
  createEffect,
  createMemo,
  createSignal,
  For,
  on,
  onCleanup,
  onMount,
} from "solid-js";
import type { FileEntry } from "../../core/api-types.ts";
import { rowsInSight, type Sight, scrollTo } from "../../core/model/rows-in-sight.ts";
import { mayEdit } from "../../core/model/state.ts";
import type { TreeRow } from "../../core/model/tree.ts";
import { treeKey } from "../../core/model/tree-keys.ts";
import { parent } from "../../core/paths.ts";
import { coarse } from "../appearance.ts";
import type { MenuPlace } from "../widgets/menu.tsx";
import { TreeRowView } from "./tree-row.tsx";
import type { Workbench } from "./workbench.ts";

/** A row's height in pixels, for a mouse and for a finger. */
const ROW_PX = 27;
const COARSE_ROW_PX = 36;

/** The tree itself. Of thousands of rows only those near what is seen are in the page. */
export function TreeList(props: {
  bench: Workbench;
  rows: readonly TreeRow[];
  /** The directory that something is dragged over. */
  dropTarget: string | null;
  onMenu: (file: FileEntry | null, place: MenuPlace) => void;
  onDragOver: (event: DragEvent, into: string) => void;
  onDrop: (event: DragEvent, into: string) => void;
}) {
  const state = () => props.bench.state;
  const dispatch = props.bench.context.dispatch;
  const tabs = createMemo(() => state().tabs);
  const openFiles = createMemo(() => new Map(tabs().map((tab) => [tab.fileId, tab])));
  const writable = createMemo(() => mayEdit(state()));
  const selectedPath = createMemo(() => state().selected);
  const selectedAt = createMemo(() => props.rows.findIndex((row) => row.file.path === selectedPath()));
  const [scrollTop, setScrollTop] = createSignal(0);
  const [viewHeight, setViewHeight] = createSignal(0);
  let tree!: HTMLDivElement;
  const rowHeight = () => (coarse() ? COARSE_ROW_PX : ROW_PX);
  const sight = (): Sight => ({
    rows: props.rows.length,
    rowHeight: rowHeight(),
    scrollTop: scrollTop(),
    viewHeight: viewHeight(),
    pinned: Math.max(0, selectedAt()),
  });
  /** By the files' ids, so that a row keeps its element, and with it the focus, whatever changes around it. */
  const drawn = createMemo(
    () =>
      new Map(
        rowsInSight(sight()).flatMap((at) => {
          const row = props.rows[at];
          return row === undefined ? [] : [[row.file.id, { row, at }]];
        }),
      ),
  );
  onMount(() => {
    const observer = new ResizeObserver(() => setViewHeight(tree.clientHeight));
    observer.observe(tree);
    onCleanup(() => observer.disconnect());
  });
  const selectedThere = createMemo(() => selectedAt() >= 0);
  // Whoever selected it, by a key, a tab or a search: it is to be seen, at once or when it comes.
  createEffect(
    on([selectedPath, selectedThere], () => {
      if (!selectedThere() || tree.clientHeight === 0) return;
      tree.scrollTop = scrollTo(selectedAt(), { ...sight(), scrollTop: tree.scrollTop, viewHeight: tree.clientHeight });
    }),
  );

  const activate = (file: FileEntry): void => {
    dispatch({ type: "select", path: file.path });
    if (file.is_directory) dispatch({ type: "expand", path: file.path, open: !state().expanded.has(file.path) });
    else void props.bench.files.open(file.id);
  };
  /** The element of the selected row, which is always drawn. */
  const selectedElement = () => tree.querySelector<HTMLElement>('[role="treeitem"][tabindex="0"]');
  // A row that changes its place among the drawn ones loses the focus on the way, and one that is deleted takes it
  // along: the keyboard goes on from the same row, or from the one that stands where it stood.
  let focused = false;
  let lastAt = 0;
  createComputed(on(drawn, () => (focused = tree.contains(document.activeElement)), { defer: true }));
  createEffect(
    on(drawn, () => {
      const row = props.rows[Math.min(lastAt, props.rows.length - 1)];
      if (selectedAt() >= 0) lastAt = selectedAt();
      if (!focused || tree.contains(document.activeElement)) return;
      if (selectedAt() < 0 && row !== undefined) dispatch({ type: "select", path: row.file.path });
      selectedElement()?.focus({ preventScroll: true });
    }),
  );
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = treeKey(props.rows, selectedAt(), event.key, event.shiftKey);
    if (act === null) return;
    event.preventDefault();
    const file = props.rows[selectedAt()]?.file;
    if (act.kind === "select") {
      const row = props.rows[act.at];
      if (row === undefined) return;
      dispatch({ type: "select", path: row.file.path });
      selectedElement()?.focus({ preventScroll: true });
    } else if (file === undefined) {
      return;
    } else if (act.kind === "expand") {
      dispatch({ type: "expand", path: file.path, open: act.open });
    } else if (act.kind === "activate") {
      activate(file);
    } else if (act.kind === "menu") {
      const box = selectedElement()?.getBoundingClientRect();
      props.onMenu(file, { x: (box?.left ?? 0) + 40, y: box?.bottom ?? 0 });
    } else if (writable()) {
      dispatch({ type: "dialog", dialog: { kind: act.kind === "rename" ? "move" : "delete", file } });
    }
  };
  const view = (id: string) => {
    const now = drawn().get(id);
    if (now === undefined) return null;
    // A row on its way out of sight stays what it was.
    const shown: Accessor<typeof now> = createMemo((before) => drawn().get(id) ?? before, now);
    const file = () => shown().row.file;
    const into = () => (file().is_directory ? file().path : parent(file().path));
    return (
      <TreeRowView
        row={shown().row}
        top={shown().at * rowHeight()}
        selected={shown().at === selectedAt()}
        focusable={shown().at === Math.max(0, selectedAt())}
        open={openFiles().has(id)}
        dirty={openFiles().get(id)?.dirty ?? false}
        writable={writable()}
        dropTarget={props.dropTarget === file().path}
        onActivate={() => activate(file())}
        onFocus={() => dispatch({ type: "select", path: file().path })}
        onMenu={(place) => props.onMenu(file(), place)}
        onDragOver={(event) => props.onDragOver(event, into())}
        onDrop={(event) => props.onDrop(event, into())}
      />
    );
  };
  return (
    <div
      class="tree"
      role="tree"
      tabIndex={-1}
      aria-label="File tree"
      ref={tree}
      style={{ "--row": `${rowHeight()}px` }}
      onScroll={() => setScrollTop(tree.scrollTop)}
      onKeyDown={onKeyDown}
      onContextMenu={(event) => {
        if (event.defaultPrevented) return;
        event.preventDefault();
        props.onMenu(null, { x: event.clientX, y: event.clientY });
      }}
    >
      <div class="tree-rows" role="presentation" style={{ height: `${props.rows.length * rowHeight()}px` }}>
        <For each={[...drawn().keys()]}>{view}</For>
      </div>
    </div>
  );
}
