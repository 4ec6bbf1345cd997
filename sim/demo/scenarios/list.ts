import { SCENARIOS } from './index.ts';

/** One name a line, for scripts; with the terminal, what each shows. */
for (const { name, summary } of SCENARIOS) console.log(process.stdout.isTTY ? `${name.padEnd(28)} ${summary}` : name);
