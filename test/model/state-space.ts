/** One thing that can happen in a state. */
export interface Step<State, Event> {
  /** Who does what: a line of the trace. */
  name: string;
  /** Whether it happens sooner or later once it can. Faults and people need not. */
  isSure: boolean;
  /** What an observer sees of it. */
  event?: Event;
  next: State;
}

export interface Model<State, Event> {
  initial: State;
  /** The same for states that are equal, or as good as equal: then their steps have the same kinds. */
  key: (state: State) => string;
  /** Of a step's name: what is left of it when those who are as good as equal are not told apart. */
  kind: (name: string) => string;
  steps: (state: State) => Step<State, Event>[];
  /** The rule that this step breaks, or the state that it leads to. */
  breach: (before: State, step: Step<State, Event>) => string | undefined;
  /** The rule that is broken if nothing sure can happen any more. */
  unfinished: (state: State) => string | undefined;
}

export interface Verdict {
  states: number;
  steps: number;
  /** The first rule found broken, by a shortest way there. */
  flaw: { rule: string; trace: string[] } | null;
}

/** A model that grows beyond this has most likely lost a bound. */
const MOST_STATES = 1_000_000;

/**
 * Visits every state that can be reached, breadth first, and checks that
 * - no step breaks a rule;
 * - a run in which from some moment on only sure steps happen, and no kind of them is possible for ever without one
 *   being made (weak fairness), comes to an end, and has left nothing unfinished there.
 */
export function check<State, Event>(model: Model<State, Event>): Verdict {
  const graph = new Graph();
  const states: State[] = [model.initial];
  const indexes = new Map([[model.key(model.initial), 0]]);
  let steps = 0;
  const verdict = (rule?: string, trace: string[] = []): Verdict => ({
    states: states.length,
    steps,
    flaw: rule === undefined ? null : { rule, trace },
  });

  for (let index = 0; index < states.length; index++) {
    const state = states[index]!;
    graph.begin();
    for (const step of model.steps(state)) {
      const key = model.key(step.next);
      const known = indexes.get(key);
      if (known === index) continue;
      steps++;
      const rule = model.breach(state, step);
      if (rule !== undefined) return verdict(rule, [...graph.traceTo(index), step.name]);
      if (known === undefined) {
        indexes.set(key, states.length);
        graph.reach(index, step.name);
        if (states.push(step.next) > MOST_STATES) throw new Error(`more than ${MOST_STATES} states`);
      }
      if (step.isSure) graph.add(known ?? states.length - 1, model.kind(step.name));
    }
  }

  for (let index = 0; index < states.length; index++) {
    const rule = graph.isEnd(index) ? model.unfinished(states[index]!) : undefined;
    if (rule !== undefined) return verdict(rule, graph.traceTo(index));
  }
  const cycle = graph.fairCycle();
  return cycle ? verdict('every run ends', cycle) : verdict();
}

/** The sure steps between states, which are numbered in the order of being found. */
class Graph {
  private readonly parents: [from: number, step: number][] = [[0, 0]];
  private readonly names: string[] = [];
  private readonly nameIndexes = new Map<string, number>();
  /** Where the edges of each state begin in the two lists after it. */
  private readonly offsets: number[] = [];
  private readonly targets: number[] = [];
  private readonly labels: number[] = [];

  begin(): void {
    this.offsets.push(this.targets.length);
  }

  reach(from: number, name: string): void {
    this.parents.push([from, this.nameIndex(name)]);
  }

  add(target: number, name: string): void {
    this.targets.push(target);
    this.labels.push(this.nameIndex(name));
  }

  isEnd(state: number): boolean {
    return this.offsets[state] === this.endOf(state);
  }

  traceTo(state: number): string[] {
    const trace: string[] = [];
    for (let at = state; at !== 0; at = this.parents[at]![0])
      trace.unshift(this.names[this.parents[at]![1]]!);
    return trace;
  }

  /**
   * A set of states that a fair run need not leave: each step that can be made in all of them is made within it. It is
   * enough to look at maximal strongly connected components: a smaller set has no fewer steps that stay possible
   * throughout, and makes no more of them.
   * @returns the way there, and the names of the steps within
   */
  fairCycle(): string[] | undefined {
    for (const members of this.components()) {
      if (members.length === 1) continue;
      const inside = new Set(members);
      const edges = members.map((state) => this.edgesOf(state));
      const made = new Set(
        edges.flat().flatMap((edge) => (inside.has(this.targets[edge]!) ? [this.labels[edge]!] : [])),
      );
      const possible = edges.map((list) => new Set(list.map((edge) => this.labels[edge]!)));
      const neglected = [...possible[0]!].some(
        (label) => !made.has(label) && possible.every((set) => set.has(label)),
      );
      if (neglected) continue;
      const entry = members.reduce((least, state) => Math.min(least, state));
      return [...this.traceTo(entry), 'for ever:', ...[...made].map((label) => this.names[label]!)];
    }
    return undefined;
  }

  /** Tarjan's algorithm, with a stack of its own instead of recursion. */
  private *components(): Generator<number[]> {
    const order = new Int32Array(this.offsets.length).fill(-1);
    const low = new Int32Array(this.offsets.length);
    const isOpen = new Uint8Array(this.offsets.length);
    const open: number[] = [];
    let count = 0;
    for (let root = 0; root < this.offsets.length; root++) {
      if (order[root] !== -1) continue;
      const calls = [{ state: root, edge: this.offsets[root]! }];
      while (calls.length > 0) {
        const call = calls.at(-1)!;
        const { state } = call;
        if (order[state] === -1) {
          order[state] = low[state] = count++;
          isOpen[state] = 1;
          open.push(state);
        }
        if (call.edge < this.endOf(state)) {
          const target = this.targets[call.edge++]!;
          if (order[target] === -1) calls.push({ state: target, edge: this.offsets[target]! });
          else if (isOpen[target]) low[state] = Math.min(low[state]!, order[target]!);
          continue;
        }
        calls.pop();
        const caller = calls.at(-1)?.state;
        if (caller !== undefined) low[caller] = Math.min(low[caller]!, low[state]!);
        if (low[state] !== order[state]) continue;
        const members = open.splice(open.lastIndexOf(state));
        for (const member of members) isOpen[member] = 0;
        yield members;
      }
    }
  }

  private edgesOf(state: number): number[] {
    const from = this.offsets[state]!;
    return Array.from({ length: this.endOf(state) - from }, (_, index) => from + index);
  }

  private endOf(state: number): number {
    return this.offsets[state + 1] ?? this.targets.length;
  }

  private nameIndex(name: string): number {
    let index = this.nameIndexes.get(name);
    if (index === undefined) this.nameIndexes.set(name, (index = this.names.push(name) - 1));
    return index;
  }
}
