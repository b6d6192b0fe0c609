package names

import "strings"

var adjectives = strings.Fields(`
agile airy alert amber ample apt azure balmy bold brave breezy bright brisk bronze calm candid cheery chief civil clear
clever cobalt cosy crisp crystal daring dapper deft eager early earnest easy even fair fancy fast festive fine firm fleet
fond frank fresh frosty gentle glad golden grand green handy happy hardy hearty honest humble ideal indigo ivory jade jolly
keen kind lasting light limber lively loyal lucid lucky lunar mellow merry mighty mild misty modest neat nimble noble
novel olive open patient peppy placid plucky polite proud quick quiet rapid ready regal robust rosy royal sandy scarlet
serene sharp shiny silver sleek smart smooth snug solar solid spry steady still stout sturdy sunny sure swift teal tidy
tranquil trim true trusty upbeat valiant velvet vivid warm wise witty young zesty`)

var nouns = strings.Fields(`
acorn alder antler apple aspen aurora badger bamboo basil beacon beaver beech birch bison bramble breeze brook canyon
cedar cherry chestnut cliff clover comet coral cove crane creek cricket daisy dale delta dolphin dune eagle egret elm
ember falcon fern finch fjord forest fox garnet geyser glacier glade grove gull harbor hare hawk hazel heron hill holly
ibis iris island ivy jasmine juniper kestrel kite lagoon lake lark laurel lemur lilac lily linden lotus lynx magnolia
mango maple marlin marten meadow mesa mole moss newt oak oasis orchid oriole osprey otter owl panda pebble pelican peony
pepper pine plover poplar prairie puffin quail quartz raven reef ridge river robin saffron salmon sequoia shore sparrow
spruce squirrel stork summit swallow swan thicket thrush tulip tundra turtle valley walnut willow wombat wren yarrow`)
