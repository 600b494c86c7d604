import { createMemo, createSignal, For, Show } from "solid-js";
import type { FileEntry } from "../../core/api-types.ts";
import { mayEdit } from "../../core/model/state.ts";
import { reuseRows, type TreeRow, treeRows } from "../../core/model/tree.ts";
import { parent } from "../../core/paths.ts";
import { Icon, IconButton } from "../widgets/icons.tsx";
import { DRAGGED_FILE, TreeRowView } from "./tree-row.tsx";
import { fromDrop, fromInput } from "./upload.ts";
import type { Workbench } from "./workbench.ts";

/** The workspace's files. Arrow keys move, Enter opens, F2 renames, Delete deletes. */
export function FileTree(props: { bench: Workbench }) {
  const state = () => props.bench.state;
  const dispatch = props.bench.context.dispatch;
  const rows = createMemo<TreeRow[]>(
    (before) => reuseRows(before, treeRows(state().files.values(), state().expanded)),
    [],
  );
  const writable = () => mayEdit(state());
  const [target, setTarget] = createSignal<string | null>(null);
  let picker!: HTMLInputElement;
  let list!: HTMLUListElement;

  const selected = () => rows().find((row) => row.file.path === state().selected)?.file;
  /** New things go into the selected directory, or beside the selected file. */
  const directory = () => {
    const file = selected();
    if (file === undefined) return "/";
    return file.is_directory ? file.path : parent(file.path);
  };
  const activate = (file: FileEntry): void => {
    dispatch({ type: "select", path: file.path });
    if (file.is_directory) dispatch({ type: "expand", path: file.path, open: !state().expanded.has(file.path) });
    else void props.bench.files.open(file.id);
  };
  const ask = (kind: "move" | "delete", file: FileEntry): void => dispatch({ type: "dialog", dialog: { kind, file } });
  const select = (at: number): void => {
    const row = rows()[at];
    if (row === undefined) return;
    dispatch({ type: "select", path: row.file.path });
    list.querySelectorAll<HTMLElement>('[role="treeitem"]')[at]?.focus();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const at = rows().findIndex((row) => row.file.path === state().selected);
    const row = rows()[at];
    const act: Record<string, (() => void) | undefined> = {
      ArrowDown: () => select(at + 1),
      ArrowUp: () => select(Math.max(0, at - 1)),
      ArrowRight: () => row?.file.is_directory && dispatch({ type: "expand", path: row.file.path, open: true }),
      ArrowLeft: () => {
        if (row?.expanded) dispatch({ type: "expand", path: row.file.path, open: false });
        else if (row !== undefined) select(rows().findIndex((each) => each.file.path === parent(row.file.path)));
      },
      Enter: () => row && activate(row.file),
      F2: () => row && writable() && ask("move", row.file),
      Delete: () => row && writable() && ask("delete", row.file),
    };
    const run = act[event.key];
    if (run === undefined) return;
    event.preventDefault();
    run();
  };
  const onDrop = (event: DragEvent, into: string): void => {
    event.preventDefault();
    event.stopPropagation();
    setTarget(null);
    if (!writable() || event.dataTransfer === null) return;
    const moved = event.dataTransfer.getData(DRAGGED_FILE);
    if (moved !== "") void props.bench.files.moveInto(moved, into);
    else void fromDrop(event.dataTransfer).then((uploads) => props.bench.files.upload(into, uploads));
  };
  const onDragOver = (event: DragEvent, into: string): void => {
    if (!writable()) return;
    event.preventDefault();
    event.stopPropagation();
    setTarget(into);
  };

  return (
    <section
      class="panel files"
      classList={{ "drop-target": target() === "/" }}
      aria-label="Files"
      onDragOver={(event) => onDragOver(event, "/")}
      onDragLeave={() => setTarget(null)}
      onDrop={(event) => onDrop(event, "/")}
    >
      <header class="panel-header">
        <h2>Files</h2>
        <Show when={writable()}>
          <IconButton
            icon="fileAdd"
            label="New file"
            onClick={() =>
              dispatch({ type: "dialog", dialog: { kind: "create", directory: directory(), folder: false } })
            }
          />
          <IconButton
            icon="folderAdd"
            label="New folder"
            onClick={() =>
              dispatch({ type: "dialog", dialog: { kind: "create", directory: directory(), folder: true } })
            }
          />
          <IconButton icon="upload" label="Upload files" onClick={() => picker.click()} />
          <input
            ref={picker}
            type="file"
            multiple
            hidden
            aria-label="Files to upload"
            onChange={(event) => {
              const uploads = fromInput(event.currentTarget.files ?? []);
              event.currentTarget.value = "";
              void props.bench.files.upload(directory(), uploads);
            }}
          />
        </Show>
        <a
          class="icon-button"
          href={`/api/workspaces/${props.bench.context.workspaceId}/archive`}
          download=""
          aria-label="Download all files"
          title="Download all files"
        >
          <Icon name="download" />
        </a>
      </header>
      <ul class="tree" aria-label="File tree" ref={list} onKeyDown={onKeyDown}>
        <For each={rows()} fallback={<li class="quiet empty">No files yet.</li>}>
          {(row) => (
            <TreeRowView
              row={row}
              selected={state().selected === row.file.path}
              focusable={state().selected === row.file.path || (selected() === undefined && rows()[0] === row)}
              writable={writable()}
              dropTarget={target() === row.file.path}
              onActivate={() => activate(row.file)}
              onRename={() => ask("move", row.file)}
              onDelete={() => ask("delete", row.file)}
              onDragOver={(event) => onDragOver(event, row.file.is_directory ? row.file.path : parent(row.file.path))}
              onDrop={(event) => onDrop(event, row.file.is_directory ? row.file.path : parent(row.file.path))}
            />
          )}
        </For>
      </ul>
    </section>
  );
}
