/** A key that goes on as long as it is held, as a keyboard's do. */

/** Held so long it begins to repeat, then so often, in milliseconds. */
const BEGIN_MS = 400;
const EACH_MS = 60;

/** The handlers of a button that `press`es once when it is clicked, and again and again while it is held. */
export function heldKey(press: () => void) {
  let timer: ReturnType<typeof setTimeout> | null = null;
  /** It has repeated: the click at its end is none. */
  let repeated = false;
  const end = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
  };
  const again = (button: HTMLButtonElement): void => {
    if (!button.isConnected || button.disabled) return;
    repeated = true;
    press();
    timer = setTimeout(again, EACH_MS, button);
  };
  return {
    onPointerDown: (event: PointerEvent & { currentTarget: HTMLButtonElement }): void => {
      end();
      repeated = false;
      if (event.button === 0) timer = setTimeout(again, BEGIN_MS, event.currentTarget);
    },
    onPointerUp: end,
    onPointerLeave: end,
    onPointerCancel: end,
    // A long touch asks for a menu, which would end it.
    onContextMenu: (event: Event): void => event.preventDefault(),
    onClick: (): void => {
      if (!repeated) press();
      repeated = false;
    },
  };
}
