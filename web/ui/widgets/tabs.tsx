import { createEffect, type JSX, onCleanup, onMount } from "solid-js";
import { Icon } from "./icons.tsx";

/** A row of tabs. Arrow keys move between them, Delete and the middle button close one. */
export function TabList(props: { label: string; children: JSX.Element }) {
  let list!: HTMLDivElement;
  onMount(() => {
    // The tab in front stays in sight in less room, too.
    const observer = new ResizeObserver(() => show(list.querySelector('[aria-selected="true"]')));
    observer.observe(list);
    onCleanup(() => observer.disconnect());
  });
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
    <div
      ref={list}
      class="tab-list"
      role="tablist"
      aria-label={props.label}
      onKeyDown={onKeyDown}
      onWheel={(event) => {
        // A mouse's wheel goes up and down only; what is more than fits lies to the side.
        if (event.deltaX === 0) event.currentTarget.scrollLeft += event.deltaY;
      }}
    >
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
  let element!: HTMLDivElement;
  createEffect(() => {
    // Its words may come later than it does, and make it wider.
    void props.label;
    if (props.selected) show(element);
  });
  return (
    <div
      ref={element}
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
        else if (event.key === "Delete") closeByKey(element, props.onClose);
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

function show(tab: Element | null): void {
  tab?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

/** Closes a tab, and leaves the keyboard in the row, or beside it when that was the last. */
function closeByKey(tab: HTMLElement, close: () => void): void {
  const list = tab.parentElement;
  const around = tab.closest("section");
  close();
  // After whatever takes the focus for itself; a question that is asked keeps it.
  queueMicrotask(() =>
    queueMicrotask(() => {
      if (document.querySelector("dialog[open]") !== null) return;
      const next = list?.isConnected ? list.querySelector<HTMLElement>('[aria-selected="true"]') : null;
      (next ?? around?.querySelector<HTMLElement>("button:enabled"))?.focus();
    }),
  );
}
