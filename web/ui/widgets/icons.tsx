/** The page's icons, drawn as strokes on a 16 × 16 grid. */

const PATHS = {
  file: "M4 1.5h5l3 3v10H4zM9 1.5v3h3",
  folder: "M1.5 4v9h13V5H8L6.5 3h-5z",
  chevron: "M6 3.5 10.5 8 6 12.5",
  fileAdd: "M3.5 1.5h5l3 3v3M8.5 1.5v3h3M3.5 1.5v13h4M12 10v5M9.5 12.5h5",
  folderAdd: "M8 13H1.5V3h5L8 5h6.5v3M12 9.5v5M9.5 12h5",
  upload: "M8 10.5v-8M4.5 6 8 2.5 11.5 6M2.5 13.5h11",
  download: "M8 2.5v8M4.5 7 8 10.5 11.5 7M2.5 13.5h11",
  rename: "M3 13l.7-3L11 2.7 13.3 5 6 12.3z",
  trash: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.5 9h6l.5-9",
  close: "M4 4l8 8M12 4l-8 8",
  play: "M4.5 2.5v11l9-5.5z",
  stop: "M4 4h8v8H4z",
  terminal: "M2.5 4.5 6 8l-3.5 3.5M7.5 12h6",
  share:
    "M11.5 5a1.75 1.75 0 1 0 0-3.5 1.75 1.75 0 0 0 0 3.5zM4.5 9.75a1.75 1.75 0 1 0 0-3.5 1.75 1.75 0 0 0 0 3.5zM11.5 14.5a1.75 1.75 0 1 0 0-3.5 1.75 1.75 0 0 0 0 3.5zM6 7.2l4-3M6 8.8l4 3",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  menu: "M2.5 4h11M2.5 8h11M2.5 12h11",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.5 10.5l3 3",
  again: "M13 8a5 5 0 1 1-1.5-3.6M13 2v3h-3",
  help: "M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM6.3 6.2a1.75 1.75 0 1 1 2.6 1.5c-.6.4-.9.7-.9 1.5M8 11.5h.01",
  leave: "M6.5 2.5h-4v11h4M10.5 5l3 3-3 3M6 8h7.5",
  box: "M8 1.5 13.5 4.5v7L8 14.5 2.5 11.5v-7zM2.5 4.5 8 7.5l5.5-3M8 7.5v7",
  up: "M3.5 10.5 8 6l4.5 4.5",
  down: "M3.5 5.5 8 10l4.5-4.5",
  plus: "M8 2.5v11M2.5 8h11",
  warn: "M8 2 14.5 13.5h-13zM8 6.5v3M8 11.5h.01",
  save: "M2.5 2.5h9l2 2v9h-11zM5 2.5v4h5v-4M5 13.5v-4h6v4",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon(props: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[props.name]} />
    </svg>
  );
}

/** A button that shows only an icon; `label` is its name for everyone who can't see it, and its tooltip. */
export function IconButton(props: {
  icon: IconName;
  label: string;
  disabled?: boolean;
  class?: string;
  /** False where the keyboard has another way to it. */
  focusable?: boolean;
  onClick: (event: MouseEvent) => void;
}) {
  return (
    <button
      type="button"
      class={`icon-button ${props.class ?? ""}`}
      aria-label={props.label}
      title={props.label}
      disabled={props.disabled ?? false}
      tabIndex={props.focusable === false ? -1 : undefined}
      onClick={(event) => props.onClick(event)}
    >
      <Icon name={props.icon} />
    </button>
  );
}
