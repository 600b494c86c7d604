import { For, onCleanup, onMount } from "solid-js";

export interface MenuItem {
  label: string;
  /** The key that does the same, as people write it. */
  keys?: string;
  danger?: boolean;
  run: () => void;
}

/** Where a menu opens, in the window. */
export interface MenuPlace {
  x: number;
  y: number;
}

/** A menu beside the pointer or a button. It closes when something is chosen, on Escape, and when it loses the focus. */
export function Menu(props: { label: string; place: MenuPlace; items: readonly MenuItem[]; onClose: () => void }) {
  let element!: HTMLDivElement;
  const before = document.activeElement;
  let chosen = false;
  onMount(() => {
    // Kept inside the window, whatever its size turned out to be.
    const { width, height } = element.getBoundingClientRect();
    element.style.left = `${Math.max(4, Math.min(props.place.x, innerWidth - width - 4))}px`;
    element.style.top = `${Math.max(4, Math.min(props.place.y, innerHeight - height - 4))}px`;
    element.querySelector("button")?.focus();
  });
  onCleanup(() => {
    if (!chosen && before instanceof HTMLElement) before.focus();
  });
  const onKeyDown = (event: KeyboardEvent): void => {
    const buttons = [...element.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const to: Record<string, number | undefined> = {
      ArrowDown: (at + 1) % buttons.length,
      ArrowUp: (at - 1 + buttons.length) % buttons.length,
      Home: 0,
      End: buttons.length - 1,
    };
    const next = to[event.key];
    if (next !== undefined) buttons[next]?.focus();
    else if (event.key === "Escape" || event.key === "Tab") props.onClose();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div
      ref={element}
      class="menu"
      role="menu"
      tabIndex={-1}
      aria-label={props.label}
      onKeyDown={onKeyDown}
      onFocusOut={(event) => {
        const to = event.relatedTarget;
        if (!(to instanceof Node) || !element.contains(to)) props.onClose();
      }}
    >
      <For each={props.items}>
        {(item) => (
          <button
            type="button"
            role="menuitem"
            classList={{ danger: item.danger ?? false }}
            onClick={() => {
              chosen = true;
              props.onClose();
              item.run();
            }}
          >
            <span class="grow">{item.label}</span>
            <kbd>{item.keys}</kbd>
          </button>
        )}
      </For>
    </div>
  );
}
