import type { NodeRef } from '../api/messages.ts';
import type { Asked, ControlAnswer } from '../api/control-messages.ts';
import type { PlannedWave } from '../api/plan-messages.ts';
import { askedText } from '../policy/asked.ts';
import type { AskMessage } from './messages.ts';

/** Characters of a text from a person that are kept. */
const LONGEST_TEXT = 900;
const LISTED = 20;

export const yes = (message: string): ControlAnswer => ({ accepted: true, message });
export const no = (message: string): ControlAnswer => ({ accepted: false, message });
/** Nothing is started any more in this attempt. */
export const later = (message: string): ControlAnswer => ({ accepted: false, message, next: true });

/** What a field of a message says, where it is the text that it should be. */
export const textOf = (value: unknown): string => (typeof value === 'string' ? value.trim() : '');

/** What of a message is kept. */
export function askedIn({ by = 'temporal', who, reason }: AskMessage): Asked {
  return {
    by: by === 'kubectl' ? 'kubectl' : 'temporal',
    ...(typeof who === 'string' && who !== '' ? { who: who.slice(0, 200) } : {}),
    ...(typeof reason === 'string' && reason !== '' ? { reason: reason.slice(0, LONGEST_TEXT) } : {}),
    at: new Date().toISOString(),
  };
}

/** A list for a message, bounded. */
export function listed(names: readonly string[]): string {
  const more = names.length > LISTED ? ` and ${names.length - LISTED} more` : '';
  return `${names.slice(0, LISTED).join(', ')}${more}`;
}

/** The names in `a, b`; each once. */
export const namesIn = (text: string): string[] => [
  ...new Set(
    text
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
  ),
];

/** What the KairosNode of a node says that a person left out. */
export const skippedText = (asked: Asked): string => `left out of the rollout by ${askedText(asked)}`;

/** Why there is no such node here: those that there are. */
export const unknownNode = (name: string, nodes: readonly Pick<NodeRef, 'name'>[]): string =>
  `node ${name} is not part of this rollout: its nodes are ${listed(nodes.map((node) => node.name))}`;

/** Why a wave cannot be approved, or undefined. */
export function approvalRefusal(name: string, waves: readonly PlannedWave[]): string | undefined {
  const waiting = waves.filter(({ approval }) => approval === true).map((wave) => wave.name);
  const those =
    waiting.length === 0 ? 'no wave of this rollout needs approval' : `approval is needed by ${listed(waiting)}`;
  if (name === '') return `name the wave, as in {"wave": "${waiting[0] ?? 'workers'}"}: ${those}`;
  if (waiting.includes(name)) return undefined;
  const known = waves.some((wave) => wave.name === name);
  return known
    ? `wave ${name} needs no approval, it starts in its turn: ${those}`
    : `there is no wave ${name}: ${those}`;
}
