import type { JSX } from "solid-js";
import { Icon } from "./icons.tsx";

/** A row of tabs. Arrow keys move between them, Delete and the middle button close one. */
export function TabList(props: { label: string; children: JSX.Element }) {
  const onKeyDown = (event: KeyboardEvent & { currentTarget: HTMLElement }): void => {
    const tabs = [...event.currentTarget.querySelectorAll<HTMLElement>('[role="tab"]')];
    const at = tabs.indexOf(document.activeElement as HTMLElement);
    const to: Record<string, number | undefined> = {
      ArrowLeft: (at - 1 + tabs.length) % tabs.length,
      ArrowRight: (at + 1) % tabs.length,
      Home: 0,
      End: tabs.length - 1,
    };
    const next = at < 0 ? undefined : tabs[to[event.key] ?? -1];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
    next.click();
    // What was chosen may take the focus for itself; who walks along the tabs stays there.
    queueMicrotask(() => queueMicrotask(() => next.focus()));
  };
  return (
    <div class="tab-list" role="tablist" aria-label={props.label} onKeyDown={onKeyDown}>
      {props.children}
    </div>
  );
}

export function Tab(props: {
  selected: boolean;
  /** Its name for those who don't see its marks; by default its text. */
  label?: string | undefined;
  title?: string | undefined;
  closeTitle: string;
  onSelect: () => void;
  onClose: () => void;
  children: JSX.Element;
}) {
  return (
    <div
      class="tab"
      classList={{ active: props.selected }}
      role="tab"
      tabIndex={props.selected ? 0 : -1}
      aria-selected={props.selected}
      aria-label={props.label}
      aria-keyshortcuts="Delete"
      title={props.title}
      onClick={() => props.onSelect()}
      onAuxClick={(event) => event.button === 1 && props.onClose()}
      onKeyDown={(event) => {
        if (event.key === "Enter" || event.key === " ") props.onSelect();
        else if (event.key === "Delete") props.onClose();
        else return;
        event.preventDefault();
      }}
    >
      <span class="tab-text">{props.children}</span>
      {/* A tab may hold no button of its own; the keyboard has Delete. */}
      <span
        class="tab-close"
        aria-hidden="true"
        title={props.closeTitle}
        onClick={(event) => {
          event.stopPropagation();
          props.onClose();
        }}
      >
        <Icon name="close" />
      </span>
    </div>
  );
}
