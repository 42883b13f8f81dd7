"""Words that guards look for: opposites, and groups of words that exclude each other."""

_OPPOSED = """
enable disable, on off, in out, up down, allow deny, allow forbid, allow block, allow prevent,
permit forbid, permit deny, permit prohibit, accept reject, accept refuse, accept decline, approve
reject, approve deny, grant revoke, grant deny, increase decrease, increase reduce, increase
lower, raise lower, raise reduce, raise cut, gain lose, gain loss, grow shrink, expand shrink,
expand contract, expand collapse, rise fall, ascend descend, ascending descending, before after,
earlier later, early late, first last, start stop, start end, start finish, begin end, begin
finish, begin stop, beginning ending, open close, opening closing, opened closed, add remove, add
delete, add subtract, create delete, create destroy, make break, build destroy, build demolish,
insert delete, insert remove, install uninstall, install remove, attach detach, connect
disconnect, join leave, enter exit, enter leave, arrive leave, arrive depart, arrival departure,
come go, push pull, send receive, buy sell, buyer seller, lend borrow, give take, give receive,
teach learn, ask answer, import export, upload download, encrypt decrypt, encode decode, compress
decompress, compress extract, lock unlock, mute unmute, show hide, visible hidden, include
exclude, inclusive exclusive, subscribe unsubscribe, follow unfollow, hire fire, win lose, winner
loser, pass fail, success failure, succeed fail, advantage disadvantage, benefit drawback, benefit
risk, benefit harm, pro con, pros cons, advantages disadvantages, strength weakness, strong weak,
good bad, best worst, better worse, well badly, right wrong, right left, correct incorrect, true
false, yes no, positive negative, plus minus, most least, more less, more fewer, many few, much
little, maximum minimum, max min, maximise minimise, maximize minimize, highest lowest, high low,
higher lower, large small, larger smaller, largest smallest, big small, bigger smaller, biggest
smallest, great small, long short, longer shorter, longest shortest, tall short, taller shorter,
tallest shortest, wide narrow, thick thin, deep shallow, heavy light, heavier lighter, fat thin,
fast slow, faster slower, fastest slowest, quick slow, quickly slowly, speed slow, hot cold,
hotter colder, hottest coldest, warm cool, heat cool, heating cooling, wet dry, hard soft, hard
easy, harder easier, hardest easiest, difficult easy, simple complex, simple complicated, cheap
expensive, cheaper pricier, cheapest costliest, rich poor, young old, younger older, youngest
oldest, new old, newer older, newest oldest, modern ancient, old recent, oldest latest, latest
earliest, fresh stale, clean dirty, full empty, fill empty, alive dead, live die, life death,
birth death, born died, married single, marry divorce, love hate, like dislike, like hate, happy
sad, hope fear, friend enemy, ally enemy, attack defend, war peace, safe dangerous, safe unsafe,
legal illegal, guilty innocent, public private, open closed, free paid, free busy, manual
automatic, manually automatically, static dynamic, local remote, local global, global regional,
internal external, inside outside, inner outer, indoor outdoor, indoors outdoors, top bottom,
upper lower, above below, over under, front back, forward backward, forwards backwards, horizontal
vertical, horizontally vertically, near far, close far, with without, for against, agree disagree,
always never, often rarely, often seldom, always sometimes, all none, all some, every no, everyone
nobody, everything nothing, only also, both neither, any none, some none, same different, similar
different, equal unequal, similarity difference, common rare, frequent rare, normal abnormal,
natural artificial, organic synthetic, real fake, real virtual, real imaginary, man woman, men
women, male female, boy girl, boys girls, husband wife, father mother, dad mom, son daughter,
brother sister, uncle aunt, king queen, he she, him her, his her, boyfriend girlfriend, gay
straight, employer employee, parent child, parents children, teacher student, doctor patient,
landlord tenant, client server, host guest, sender receiver, sender recipient, master slave,
producer consumer, read write, reader writer, load save, save delete, save spend, save discard,
earn spend, profit loss, debit credit, deposit withdraw, deposit withdrawal, asset liability,
income expense, supply demand, inflation deflation, tax refund, gross net, fixed variable, fixed
floating, constant variable, sync async, synchronous asynchronous, serial parallel, mutable
immutable, signed unsigned, input output, stdin stdout, row column, rows columns, key value, head
tail, prefix suffix, left right, parent children, push pop, enqueue dequeue, acquire release,
allocate free, allocate deallocate, commit rollback, merge split, merge rebase, join split, sort
shuffle, freeze thaw, freeze melt, boil freeze, solid liquid, day night, morning evening, morning
night, am pm, today tomorrow, today yesterday, tomorrow yesterday, past future, past present,
present future, previous next, last next, former latter, former current, old current, north south,
east west, northern southern, eastern western, summer winter, spring autumn, sunrise sunset, sun
moon, land sea, sweet sour, sweet salty, sweet bitter, raw cooked, vegetarian meat, sober drunk,
asleep awake, sleep wake, awake asleep, wake sleep, stand sit, rise set, laugh cry, remember
forget, find lose, found lost, hit miss, catch miss, catch throw, prevent cause, prevent
encourage, cause cure, cause effect, cause result, cause symptom, causes symptoms, causes effects,
causes treatment, symptom treatment, symptoms treatment, cause treatment, prevention cure, cure
disease, hurt help, help harm, protect harm, protect expose, improve worsen, improve harm,
strengthen weaken, tighten loosen, tight loose, promote demote, activate deactivate, activate
cancel, confirm cancel, renew cancel, keep remove, keep discard, keep change, maximal minimal,
optimistic pessimistic, introvert extrovert, introverted extroverted, liberal conservative,
democrat republican, democrats republicans, capitalism socialism, capitalism communism, socialism
communism, domestic foreign, domestic international, national international, urban rural, import
deport, immigrate emigrate, immigration emigration, major minor, primary secondary, theory
practice, theoretical practical, qualitative quantitative, subjective objective, active passive,
abstract concrete, formal informal, singular plural, odd even, prime composite, rational
irrational, real complex, finite infinite, convex concave, linear nonlinear, discrete continuous,
integer float, numerator denominator, multiply divide, addition subtraction, sum difference,
product quotient, integral derivative, integrate differentiate, ascending descend, lossless lossy,
strict loose, stable unstable, weight height, lose gain, lost gained, losing gaining, loss gain,
tension relaxation, stress relax, ac dc, wired wireless, hardware software, frontend backend,
upstream downstream, uplink downlink, ingress egress, inbound outbound, incoming outgoing,
whitelist blacklist, allowlist denylist, allowlist blocklist, opt-in opt-out, mount unmount, undo
redo, zip unzip, shutdown startup, shutdown restart, shut start, pause resume, play pause, expire
renew, minor adult, amateur professional, beginner expert, beginner advanced, novice expert,
optional required, optional mandatory, voluntary mandatory, voluntary involuntary, temporary
permanent, temporarily permanently, partial complete, partial full, partially fully, approximate
exact, sender addressee, owe own, rent buy, rent own, lease buy, lease own, import produce,
cheaply expensively, morning afternoon, hire dismiss, praise criticise, praise criticize, support
oppose, supporter opponent, support attack, reward punish, trust distrust, respect insult, attract
repel, absorb emit, absorb reflect, inhale exhale, swallow spit, evaporate condense, dissolve
precipitate, oxidise reduce, oxidize reduce, symmetric asymmetric, typical atypical, moral amoral,
symmetrical asymmetrical, acid base, acidic alkaline, acidic basic, anode cathode, proton
electron, kinetic potential, series parallel, convergent divergent, converge diverge, import omit
"""

_EXCLUSIVE = """
monday tuesday wednesday thursday friday saturday sunday
january february march april june july august september october november december
spring summer autumn/fall winter
morning noon afternoon evening midnight
breakfast lunch dinner supper
daily weekly monthly yearly annually hourly quarterly nightly
red orange yellow green blue purple violet pink brown black white grey/gray silver gold
north south east west northeast northwest southeast southwest
father mother brother sister son daughter uncle aunt cousin grandfather grandmother nephew niece
dad mom grandpa grandma husband wife
boyfriend girlfriend
cat dog horse cow pig sheep goat chicken duck rabbit hamster fish bird snake
windows mac/macos linux ubuntu debian fedora centos android ios
python java javascript typescript ruby rust golang kotlin swift perl php scala haskell c++ c#
mysql postgresql/postgres sqlite oracle mongodb redis cassandra mariadb
aws azure gcp
chrome firefox safari edge opera
bash zsh fish powershell
facebook instagram twitter whatsapp snapchat tiktok linkedin reddit quora youtube pinterest
google bing yahoo
gmail outlook hotmail
iphone android
tcp udp http ftp ssh smtp
json xml yaml csv toml
get post put patch delete head
english french german spanish italian portuguese chinese japanese korean russian arabic hindi dutch
france germany spain italy portugal china japan korea russia india canada brazil mexico australia
paris london berlin madrid rome tokyo beijing moscow delhi mumbai chennai bangalore sydney
dollar euro pound yen rupee yuan franc peso bitcoin
iron copper gold silver zinc aluminium/aluminum lead tin nickel steel
oxygen hydrogen nitrogen carbon helium sulfur/sulphur sodium potassium calcium
mercury venus earth mars jupiter saturn uranus neptune pluto
physics chemistry biology mathematics history geography economics
bachelor master phd/doctorate
christian muslim hindu buddhist jewish
christianity islam hinduism buddhism judaism
africa asia europe america antarctica
football/soccer cricket tennis basketball baseball hockey rugby golf
guitar piano violin drums flute
car bus train plane bike/bicycle motorcycle boat ship
tea coffee juice beer wine water milk
rice wheat corn barley
apple banana mango grape
left right centre/center
low medium high
small medium large
one two three four five six seven eight nine ten eleven twelve
first second third fourth fifth sixth seventh eighth ninth tenth
beginner intermediate advanced
staging production development
kilobyte megabyte gigabyte terabyte
triangle square circle rectangle
mean median mode
sine cosine tangent
"""


def _antonyms() -> tuple[tuple[str, str], ...]:
    pairs = (pair.split() for pair in _OPPOSED.replace("\n", " ").split(","))
    return tuple((left, right) for left, right in pairs)


ANTONYMS = _antonyms()
"""Pairs of which one means the other's opposite, or its counterpart."""

ALTERNATIVES = tuple(frozenset(line.split()) for line in _EXCLUSIVE.strip().splitlines())
"""Groups of words, `/` between spellings of one, of which a question means one and not another."""
