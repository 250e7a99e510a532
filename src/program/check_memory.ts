/**
 * What instructions do to memory, in one possible order of execution. Within a buffer: every two conflicting accesses are ordered by the
 * section's clocks, and what is read was written. Between buffers that share bytes: one is used wholly before the other. Together these
 * make every order of execution that the semaphores allow give what this one gives, and each read see what its own buffer was given.
 */
import type { Faults } from "./check.js";
import type { SectionOrder } from "./check_order.js";
import { elementClasses, type Pattern } from "./element_classes.js";
import { type Access, type Buffer, bufferBytes, reads } from "./program.js";

/** One access of a section: the place of its instruction in the order of execution, and which of the buffer's patterns it has. */
interface Touch {
  readonly place: number;
  readonly write: boolean;
  readonly pattern: number;
}

/** Everything that a section does with one buffer. */
interface Usage {
  readonly touches: Touch[];
  written: boolean;
  /** By stream: place of the first access (-1: none), and index in the stream of the last. */
  readonly firstPlace: Int32Array;
  readonly lastIndex: Int32Array;
}

/** A buffer with the distinct patterns in which it is accessed. */
class Tracked {
  readonly patterns: Pattern[] = [];
  readonly #ids = new Map<string, number>();
  readonly usage: { load?: Usage; infer?: Usage } = {};

  constructor(readonly buffer: Buffer) {}

  /** Written once when the model is loaded, and kept. */
  get resident(): boolean {
    return this.usage.load?.written === true && this.buffer.space !== "psum";
  }

  patternOf(access: Access): number {
    const { partitionStart, partitionCount, partitionStride, offset, sizes, strides } = access;
    const key = `${partitionStart},${partitionCount},${partitionStride},${offset};${sizes.join()};${strides.join()}`;
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = this.patterns.push(access) - 1;
      this.#ids.set(key, id);
    }
    return id;
  }
}

function collect(tracked: ReadonlyMap<string, Tracked>, order: SectionOrder): void {
  const { section, streams } = order;
  const touch = (access: Access, place: number, write: boolean) => {
    const target = tracked.get(access.buffer)!;
    target.usage[section] ??= {
      touches: [],
      written: false,
      firstPlace: new Int32Array(streams.length).fill(-1),
      lastIndex: new Int32Array(streams.length).fill(-1),
    };
    const usage = target.usage[section];
    const stream = order.stream[place];
    usage.touches.push({ place, write, pattern: target.patternOf(access) });
    if (write) usage.written = true;
    if (usage.firstPlace[stream] < 0) usage.firstPlace[stream] = place;
    usage.lastIndex[stream] = order.index[place];
  };
  for (let place = 0; place < order.stream.length; place++) {
    const { operation } = streams[order.stream[place]].instructions[order.index[place]];
    for (const access of reads(operation)) touch(access, place, false);
    touch(operation.out, place, true);
  }
}

function report(faults: Faults, order: SectionOrder, place: number, message: string): void {
  faults.add({ message, section: order.section, stream: order.streams[order.stream[place]].engine, instruction: order.index[place] });
}

/** What happened to each class of elements so far in a section. */
class ClassStates {
  /** Place of the last write; NEVER, or BEFORE where an earlier section wrote it. */
  readonly write: Int32Array;
  /** By class and stream: one more than the index of the last read since that write. */
  readonly #reads: Int32Array;
  readonly #order: SectionOrder;

  static readonly NEVER = -1;
  static readonly BEFORE = -2;

  constructor(classes: number, order: SectionOrder) {
    this.write = new Int32Array(classes).fill(ClassStates.NEVER);
    this.#reads = new Int32Array(classes * order.streams.length);
    this.#order = order;
  }

  #clock(place: number, stream: number): number {
    return this.#order.clocks[place * this.#order.streams.length + stream];
  }

  #afterWrite(place: number, each: number): boolean {
    const last = this.write[each];
    return last < 0 || this.#clock(place, this.#order.stream[last]) > this.#order.index[last];
  }

  /** Undefined, or what is wrong with a read of a class. */
  read(place: number, each: number): string | undefined {
    const { stream, index, streams } = this.#order;
    this.#reads[each * streams.length + stream[place]] = index[place] + 1;
    if (this.write[each] === ClassStates.NEVER) return "reads what was never written";
    return this.#afterWrite(place, each) ? undefined : `does not wait for ${this.#name(this.write[each])}, whose result it reads`;
  }

  /** Undefined, or what is wrong with a write of a class. */
  overwrite(place: number, each: number): string | undefined {
    const { streams } = this.#order;
    let fault = this.#afterWrite(place, each) ? undefined : `does not wait for ${this.#name(this.write[each])}, whose result it overwrites`;
    for (let stream = 0; stream < streams.length; stream++) {
      const at = each * streams.length + stream;
      if (this.#reads[at] > this.#clock(place, stream) && stream !== this.#order.stream[place]) {
        fault ??= `does not wait for ${streams[stream].engine}[${this.#reads[at] - 1}], which reads what it overwrites`;
      }
      this.#reads[at] = 0;
    }
    this.write[each] = place;
    return fault;
  }

  #name(place: number): string {
    return `${this.#order.streams[this.#order.stream[place]].engine}[${this.#order.index[place]}]`;
  }
}

/** Every element of an output is written in each request. */
function checkCovered(buffer: Buffer, states: ClassStates, counts: readonly number[], faults: Faults): void {
  if (counts.some((count, each) => count > 0 && states.write[each] < 0)) {
    faults.add({ message: `output ${buffer.name} is not written completely`, section: "infer" });
  }
}

/** Orders and initialisation within one buffer. */
function checkBuffer(tracked: Tracked, orders: readonly SectionOrder[], faults: Faults): void {
  const { buffer, usage } = tracked;
  const isOutput = buffer.space === "dram" && buffer.kind === "output";
  if (isOutput && !usage.infer?.written) {
    faults.add({ message: `output ${buffer.name} is not written`, section: "infer" });
    return;
  }
  if (!usage.load && !usage.infer) return;
  const classes = elementClasses(buffer, tracked.patterns);
  let loaded: ClassStates | undefined;
  for (const order of orders) {
    const { touches, written } = usage[order.section] ?? { touches: [], written: false };
    const states = new ClassStates(classes.counts.length, order);
    if (loaded && tracked.resident) {
      if (written) faults.add({ message: `buffer ${buffer.name}, which the load section fills, is written`, section: order.section });
      for (const [each, place] of loaded.write.entries()) if (place >= 0) states.write[each] = ClassStates.BEFORE;
    }
    for (const { place, write, pattern } of touches) {
      let fault: string | undefined;
      for (const each of classes.members[pattern]) {
        const found = write ? states.overwrite(place, each) : states.read(place, each);
        fault ??= found;
      }
      if (fault !== undefined) report(faults, order, place, `${fault} (${buffer.name})`);
    }
    if (isOutput && order.section === "infer") checkCovered(buffer, states, classes.counts, faults);
    loaded = states;
  }
}

/** Which memory a buffer shares with others. */
function memoryOf(buffer: Buffer): string | undefined {
  if (buffer.space !== "dram") return buffer.space;
  return buffer.kind === "scratch" ? "scratch" : undefined;
}

/** A range of bytes and who used it last. */
interface Owned {
  readonly start: number;
  readonly end: number;
  readonly owner: Tracked;
}

/** Takes the owner's bytes from their last users; returns those. */
function takeOver(owned: Owned[], owner: Tracked): { owners: Tracked[]; owned: Owned[] } {
  const start = owner.buffer.address;
  const end = start + bufferBytes(owner.buffer);
  const owners: Tracked[] = [];
  const rest: Owned[] = [];
  for (const range of owned) {
    if (range.end <= start || range.start >= end) {
      rest.push(range);
      continue;
    }
    if (!owners.includes(range.owner)) owners.push(range.owner);
    if (range.start < start) rest.push({ ...range, end: start });
    if (range.end > end) rest.push({ ...range, start: end });
  }
  rest.push({ start, end, owner });
  return { owners, owned: rest };
}

/** An access of `after` that is not ordered after all accesses of `before`: its place, or -1 where there is none. */
function unordered(before: Usage, after: Usage, order: SectionOrder): number {
  const count = order.streams.length;
  for (const place of after.firstPlace) {
    if (place < 0) continue;
    for (let stream = 0; stream < count; stream++) {
      if (before.lastIndex[stream] >= 0 && order.clocks[place * count + stream] <= before.lastIndex[stream]) return place;
    }
  }
  return -1;
}

/**
 * Buffers that share bytes are used one wholly after the other, and nobody takes over bytes that outlive the section. It is enough to
 * compare each buffer with those that used its bytes last: all uses of these come after all of the ones before them.
 */
function checkSharing(tracked: readonly Tracked[], order: SectionOrder, faults: Faults): void {
  const { section } = order;
  const memories = new Map<string, Owned[]>();
  const firstPlace = (usage: Usage) =>
    usage.firstPlace.reduce((least, place) => (place >= 0 && place < least ? place : least), order.stream.length);
  const kept = (each: Tracked) => section === "infer" && each.resident;
  const users = tracked.filter((each) => memoryOf(each.buffer) !== undefined && (each.usage[section] || kept(each)));
  const start = new Map(users.map((each) => [each, kept(each) ? -1 : firstPlace(each.usage[section]!)]));
  users.sort((a, b) => start.get(a)! - start.get(b)!);
  for (const user of users) {
    const memory = memoryOf(user.buffer)!;
    const taken = takeOver(memories.get(memory) ?? [], user);
    memories.set(memory, taken.owned);
    if (kept(user)) continue;
    const usage = user.usage[section]!;
    for (const owner of taken.owners) {
      if (owner.resident) {
        report(faults, order, firstPlace(usage), `buffer ${user.buffer.name} overlaps ${owner.buffer.name}, which stays loaded`);
        continue;
      }
      const place = unordered(owner.usage[section]!, usage, order);
      if (place >= 0) report(faults, order, place, `buffer ${user.buffer.name} overlaps ${owner.buffer.name}, which is still in use`);
    }
  }
}

export function checkMemory(buffers: readonly Buffer[], load: SectionOrder, infer: SectionOrder, faults: Faults): void {
  const tracked = new Map(buffers.map((buffer) => [buffer.name, new Tracked(buffer)]));
  for (const order of [load, infer]) collect(tracked, order);
  // Inputs and constants are never written (a rule of structure), so that their readers need no order.
  const writable = [...tracked.values()].filter(
    ({ buffer }) => buffer.space !== "dram" || buffer.kind === "output" || buffer.kind === "scratch",
  );
  for (const each of writable) checkBuffer(each, [load, infer], faults);
  for (const order of [load, infer]) checkSharing(writable, order, faults);
}
