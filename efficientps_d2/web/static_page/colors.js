// Colours as those of efficientps_d2/prediction/colors.py: an object has one in all layers, a shade
// of its class's.

function shade(color, number, { offsets }) {
  const offset = offsets[number % offsets.length];
  return color.map((value, i) => Math.round(Math.min(255, value + offset[i])));
}

// Of the segments of a panoptic map, by ascending id.
export function colorsOfSegments(segments, config) {
  let things = 0;
  return segments.map(({ category, isthing }) => {
    const { color } = config.categories[category];
    return isthing ? shade(color, things++, config) : color;
  });
}

// Of instances, given as the pixels of their masks: that of the thing of the panoptic map which is
// the most like it, of the same class and like no other instance more; or one of its own.
export function colorsOfInstances(masks, classes, ids, segments, config) {
  const things = segments.filter(({ isthing }) => isthing);
  const pairs = [];
  masks.forEach((mask, instance) => {
    const common = new Uint32Array(segments.length + 1);
    for (const pixel of mask) common[ids[pixel]]++;
    for (const thing of things) {
      const both = common[thing.id];
      const likeness = both / (mask.length + thing.area - both);
      if (both && thing.category === classes[instance]) pairs.push({ instance, thing, likeness });
    }
  });
  pairs.sort((a, b) => b.likeness - a.likeness);
  const colors = [];
  const taken = new Set();
  for (const { instance, thing } of pairs) {
    if (colors[instance] || taken.has(thing)) continue;
    colors[instance] = thing.color;
    taken.add(thing);
  }
  let number = things.length;
  return masks.map((_, i) => colors[i] ?? shade(config.categories[classes[i]].color, number++, config));
}
