import { Show } from "solid-js";
import type { TreeRow } from "../../core/model/tree.ts";
import { Icon, IconButton } from "../widgets/icons.tsx";

/** How a dragged row names itself; files from the desktop never have this type. */
export const DRAGGED_FILE = "application/x-playhouse-file";

/** One row of the file tree. */
export function TreeRowView(props: {
  row: TreeRow;
  selected: boolean;
  focusable: boolean;
  writable: boolean;
  dropTarget: boolean;
  onActivate: () => void;
  onRename: () => void;
  onDelete: () => void;
  onDragOver: (event: DragEvent) => void;
  onDrop: (event: DragEvent) => void;
}) {
  const file = () => props.row.file;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree handles the keys of all its rows
    <li
      class="tree-row"
      classList={{ selected: props.selected, "drop-target": props.dropTarget && file().is_directory }}
      role="treeitem"
      aria-label={props.row.name}
      aria-level={props.row.level}
      aria-selected={props.selected}
      aria-expanded={file().is_directory ? props.row.expanded : undefined}
      tabIndex={props.focusable ? 0 : -1}
      title={file().path}
      style={{ "--level": props.row.level }}
      draggable={props.writable}
      onClick={() => props.onActivate()}
      onDragStart={(event) => event.dataTransfer?.setData(DRAGGED_FILE, file().id)}
      onDragOver={(event) => props.onDragOver(event)}
      onDrop={(event) => props.onDrop(event)}
    >
      <span class="twist" classList={{ open: props.row.expanded, leaf: !file().is_directory }}>
        <Icon name={file().is_directory ? "chevron" : "file"} />
      </span>
      <span class="tree-name" classList={{ link: file().symlink_target !== null }}>
        {props.row.name}
      </span>
      <Show when={props.writable}>
        {/* The row's own click opens it; its buttons' must not. */}
        <span class="tree-actions">
          <IconButton
            icon="rename"
            label={`Rename ${props.row.name}`}
            onClick={(event) => {
              event.stopPropagation();
              props.onRename();
            }}
          />
          <IconButton
            icon="trash"
            label={`Delete ${props.row.name}`}
            onClick={(event) => {
              event.stopPropagation();
              props.onDelete();
            }}
          />
        </span>
      </Show>
    </li>
  );
}
