import { createMemo, createSignal, Show } from "solid-js";
import type { FileEntry } from "../../core/api-types.ts";
import { mayEdit } from "../../core/model/state.ts";
import { treeRows } from "../../core/model/tree.ts";
import { parent } from "../../core/paths.ts";
import { coarse } from "../appearance.ts";
import { Icon, IconButton } from "../widgets/icons.tsx";
import { Menu, type MenuPlace } from "../widgets/menu.tsx";
import { TreeList } from "./tree-list.tsx";
import { treeMenu } from "./tree-menu.ts";
import { DRAGGED_FILE } from "./tree-row.tsx";
import type { Workbench } from "./workbench.ts";

/** The workspace's files. */
export function FileTree(props: { bench: Workbench }) {
  const state = () => props.bench.state;
  const dispatch = props.bench.context.dispatch;
  // Memos of the parts, so that thousands of rows are looked at only when what they show changes.
  const files = createMemo(() => state().files);
  const expanded = createMemo(() => state().expanded);
  const rows = createMemo(() => treeRows(files().values(), expanded()));
  const writable = createMemo(() => mayEdit(state()));
  const [target, setTarget] = createSignal<string | null>(null);
  const [menu, setMenu] = createSignal<{ place: MenuPlace; file: FileEntry | null } | null>(null);
  let picker!: HTMLInputElement;
  /** Where the picker's files go. */
  let pickedFor = "/";

  /** New things go into the selected directory, or beside the selected file. */
  const directory = () => {
    const file = rows().find((row) => row.file.path === state().selected)?.file;
    if (file === undefined) return "/";
    return file.is_directory ? file.path : parent(file.path);
  };
  const pick = (into: string, folder: boolean): void => {
    pickedFor = into;
    picker.webkitdirectory = folder;
    picker.click();
  };
  const openMenu = (file: FileEntry | null, place: MenuPlace): void => {
    if (file !== null) dispatch({ type: "select", path: file.path });
    setMenu({ place, file });
  };
  const onDrop = async (event: DragEvent, into: string): Promise<void> => {
    event.preventDefault();
    event.stopPropagation();
    setTarget(null);
    if (!writable() || event.dataTransfer === null) return;
    const moved = event.dataTransfer.getData(DRAGGED_FILE);
    if (moved !== "") await props.bench.files.moveInto(moved, into);
    else await props.bench.uploads.drop(into, event.dataTransfer);
  };
  const onDragOver = (event: DragEvent, into: string): void => {
    if (!writable()) return;
    event.preventDefault();
    event.stopPropagation();
    setTarget(into);
  };
  const create = (folder: boolean): void =>
    dispatch({ type: "dialog", dialog: { kind: "create", directory: directory(), folder } });

  return (
    <section
      class="panel files"
      classList={{ "drop-target": target() === "/" }}
      aria-label="Files"
      onDragOver={(event) => onDragOver(event, "/")}
      onDragLeave={() => setTarget(null)}
      onDrop={(event) => void onDrop(event, "/")}
    >
      <header class="panel-header">
        <h2>Files</h2>
        <IconButton
          icon="search"
          label="Open a file (Ctrl+P)"
          onClick={() => dispatch({ type: "dialog", dialog: { kind: "open" } })}
        />
        <Show when={writable()}>
          <IconButton icon="fileAdd" label="New file" onClick={() => create(false)} />
          <IconButton icon="folderAdd" label="New folder" onClick={() => create(true)} />
          <IconButton icon="upload" label="Upload files" onClick={() => pick(directory(), false)} />
          <input
            ref={picker}
            type="file"
            multiple
            hidden
            aria-label="Files to upload"
            onChange={(event) => {
              const files = [...(event.currentTarget.files ?? [])];
              event.currentTarget.value = "";
              void props.bench.uploads.choose(pickedFor, files);
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
      <Show
        when={rows().length > 0}
        fallback={
          <div class="empty">
            <p class="quiet">No files yet.</p>
            <Show when={writable()}>
              <p class="quiet">
                {coarse() ? "Make one, or upload some." : "Make one, or drop files and folders here."}
              </p>
            </Show>
          </div>
        }
      >
        <TreeList
          bench={props.bench}
          rows={rows()}
          dropTarget={target()}
          onMenu={openMenu}
          onDragOver={onDragOver}
          onDrop={(event, into) => void onDrop(event, into)}
        />
      </Show>
      <Show when={menu()} keyed>
        {(open) => (
          <Menu
            label={open.file === null ? "Actions" : `Actions for ${open.file.path}`}
            place={open.place}
            items={treeMenu(props.bench, open.file, pick)}
            onClose={() => setMenu(null)}
          />
        )}
      </Show>
    </section>
  );
}
