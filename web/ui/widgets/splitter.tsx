/**
 * A draggable edge that sets a CSS length on the layout it stands in. Arrow keys move it too. Where it was left it is
 * found again.
 */

import { createSignal, onMount } from "solid-js";

const KEY_STEP_PX = 24;

export function Splitter(props: {
  label: string;
  /** `x` changes a width, `y` a height that grows upwards. */
  axis: "x" | "y";
  property: string;
  least: number;
}) {
  let splitter!: HTMLDivElement;
  const [value, setValue] = createSignal(0);
  const layout = () => splitter.closest<HTMLElement>("[data-layout]");
  /** Reads what the length is, whatever the layout made of what was asked for. */
  const measure = (): number => {
    const [whole, edge] = [layout()?.getBoundingClientRect(), splitter.getBoundingClientRect()];
    if (whole === undefined) return 0;
    const length = props.axis === "x" ? (edge.left + edge.right) / 2 - whole.left : whole.bottom - edge.bottom;
    return setValue(Math.round(length));
  };
  const apply = (wanted: number): void => {
    const element = layout();
    if (element === null) return;
    const room = props.axis === "x" ? element.clientWidth : element.clientHeight;
    const length = setValue(Math.round(Math.max(props.least, Math.min(wanted, room * 0.75))));
    element.style.setProperty(props.property, `${length}px`);
    keep(props.property, length);
  };
  onMount(() => {
    const before = kept(props.property);
    if (before !== null) layout()?.style.setProperty(props.property, `${Math.max(props.least, before)}px`);
    measure();
  });
  return (
    // biome-ignore lint/a11y/useSemanticElements: an hr can't be dragged or focused
    <div
      ref={splitter}
      class={`splitter splitter-${props.axis}`}
      role="separator"
      tabIndex={0}
      aria-label={props.label}
      aria-orientation={props.axis === "x" ? "vertical" : "horizontal"}
      aria-valuenow={value()}
      onFocus={measure}
      onPointerDown={(down) => {
        const element = down.currentTarget;
        element.setPointerCapture(down.pointerId);
        const from = measure();
        const move = (event: PointerEvent): void => {
          const by = props.axis === "x" ? event.clientX - down.clientX : down.clientY - event.clientY;
          apply(from + by);
        };
        element.addEventListener("pointermove", move);
        element.addEventListener("lostpointercapture", () => element.removeEventListener("pointermove", move), {
          once: true,
        });
      }}
      onKeyDown={(event) => {
        const more = props.axis === "x" ? "ArrowRight" : "ArrowUp";
        const less = props.axis === "x" ? "ArrowLeft" : "ArrowDown";
        if (event.key !== more && event.key !== less) return;
        event.preventDefault();
        apply(measure() + (event.key === more ? KEY_STEP_PX : -KEY_STEP_PX));
      }}
    />
  );
}

const KEY = "playhouse:layout";

function keep(property: string, length: number): void {
  try {
    localStorage.setItem(KEY + property, String(length));
  } catch {
    // A full or forbidden store only costs the memory.
  }
}

function kept(property: string): number | null {
  try {
    const length = Number.parseInt(localStorage.getItem(KEY + property) ?? "", 10);
    return Number.isFinite(length) ? length : null;
  } catch {
    return null;
  }
}
