import { formatEnvironment } from '../sim/grub.ts';

const BLOCK_BYTES = 1024;

/**
 * A GRUB environment block as grub-editenv and GRUB itself demand it: exactly 1024 bytes, filled up with `#`.
 * @throws Error when the variables do not fit
 */
export function environmentBlock(environment: Readonly<Record<string, string>>): string {
  const text = formatEnvironment(environment);
  if (text.length > BLOCK_BYTES)
    throw new Error(`a GRUB environment block holds ${BLOCK_BYTES} bytes, not ${text.length}`);
  return text.padEnd(BLOCK_BYTES, '#');
}
