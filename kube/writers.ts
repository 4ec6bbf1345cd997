import type { RawMetadata } from './raw-object.ts';

/**
 * Who wrote parts of an object last, by their field managers: the spec, and the annotations by their names. A field
 * manager is a program, such as `kubectl-annotate`; a person only where one says so (`kubectl --field-manager=ana`).
 */
export interface Writers {
  spec?: string;
  annotations: Readonly<Record<string, string>>;
}

/** Reads what the API server keeps of field managers. A write that is not tracked has none. */
export function writersOf({ managedFields = [] }: Pick<RawMetadata, 'managedFields'>): Writers {
  const oldestFirst = managedFields
    .filter(({ subresource = '' }) => subresource === '')
    .toSorted((one, other) => ((one.time ?? '') < (other.time ?? '') ? -1 : 1));
  const annotations: Record<string, string> = {};
  let spec: string | undefined;
  for (const { manager, fieldsV1 } of oldestFirst) {
    if (manager === undefined || manager === '') continue;
    const fields = recordOf(fieldsV1);
    if ('f:spec' in fields) spec = manager;
    for (const field of Object.keys(recordOf(recordOf(fields['f:metadata'])['f:annotations'])))
      if (field.startsWith('f:')) annotations[field.slice(2)] = manager;
  }
  return { annotations, ...(spec === undefined ? {} : { spec }) };
}

const recordOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
