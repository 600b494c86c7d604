import { Show } from "solid-js";
import type { TreeRow } from "../../core/model/tree.ts";
import { Icon, IconButton } from "../widgets/icons.tsx";
import type { MenuPlace } from "../widgets/menu.tsx";

/** How a dragged row names itself; files from the desktop never have this type. */
export const DRAGGED_FILE = "application/x-playhouse-file";

/** One row of the file tree. */
export function TreeRowView(props: {
  row: TreeRow;
  /** Where it stands, in pixels from the first. */
  top: number;
  selected: boolean;
  focusable: boolean;
  open: boolean;
  dirty: boolean;
  writable: boolean;
  dropTarget: boolean;
  onActivate: () => void;
  /** The keyboard came to it. */
  onFocus: () => void;
  onMenu: (place: MenuPlace) => void;
  onDragOver: (event: DragEvent) => void;
  onDrop: (event: DragEvent) => void;
}) {
  const file = () => props.row.file;
  const link = () => file().symlink_target;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree handles the keys of all its rows
    <div
      class="tree-row"
      classList={{
        selected: props.selected,
        open: props.open,
        "drop-target": props.dropTarget && file().is_directory,
      }}
      role="treeitem"
      aria-label={props.row.name}
      aria-level={props.row.level}
      aria-posinset={props.row.place}
      aria-setsize={props.row.siblings}
      aria-selected={props.selected}
      aria-expanded={file().is_directory ? props.row.expanded : undefined}
      tabIndex={props.focusable ? 0 : -1}
      title={link() === null ? file().path : `${file().path} → ${link()}`}
      style={{ "--level": props.row.level, top: `${props.top}px` }}
      draggable={props.writable}
      onClick={() => props.onActivate()}
      onFocus={() => props.onFocus()}
      onContextMenu={(event) => {
        event.preventDefault();
        props.onMenu({ x: event.clientX, y: event.clientY });
      }}
      onDragStart={(event) => event.dataTransfer?.setData(DRAGGED_FILE, file().id)}
      onDragOver={(event) => props.onDragOver(event)}
      onDrop={(event) => props.onDrop(event)}
    >
      <span class="twist" classList={{ open: props.row.expanded, leaf: !file().is_directory }}>
        <Icon name={file().is_directory ? "chevron" : "file"} />
      </span>
      <span class="tree-name" classList={{ link: link() !== null }}>
        {props.row.name}
      </span>
      <Show when={props.dirty}>
        <span class="dirty-mark" title="Not saved" aria-hidden="true">
          ●
        </span>
      </Show>
      <IconButton
        icon="more"
        label={`Actions for ${props.row.name}`}
        class="tree-actions"
        focusable={false}
        onClick={(event) => {
          // The row's own click opens it.
          event.stopPropagation();
          const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
          props.onMenu({ x: box.left, y: box.bottom });
        }}
      />
    </div>
  );
}
