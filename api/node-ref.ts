/** A node, by its name and by the UID of its Node: one that is made again under its name is another. */
export interface NodeRef {
  name: string;
  uid: string;
}

/** How many nodes of a group may be out at once. */
export interface Place {
  group: 'control-plane' | 'worker';
  budget: number;
}
