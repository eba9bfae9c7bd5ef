"""Words for the sample log's recogniser: everyday English that it likes to hear, and sounds that its list lacks."""

from __future__ import annotations

_EVERYDAY = """
a able about above across act add after again age ago air all alone along also always am an and animal another answer
any apple are area arm around art as ask at ate aunt away baby back bad bag bake ball band bank bar bare base bat bath
be beach bead bean bear beat bed bee been beer before beg bell bend best bet better big bill bird bit bite black blame
blank blew block blow blue board boat body boil bold bone book boom boot born both bottom bought bow box boy brain
branch brave bread break breed brew brick bride bridge bring broke brook broom brother brown brush build bull bun burn
bus busy but buy by cab cake call came camp can can't cane cap car card care carry cart case cash cast cat catch cave
cell cent chain chair chance change chart chase cheap check cheese chest chew child chin chip choose city clay clean
clear click climb clock close cloth cloud club coal coat code coin cold come cone cook cool cop copy core corn cost
could count course court cove cover cow cream crew crop cross crowd cry cup cure cut dad damp dance dare dark date
dawn day dead deal dear deck deep deer den desk dew did die dig dim din dip dirt dish do dock dog doll don't done door
dot double down drain draw dream dress drew drink drive drop drum dry duck due dull dumb dust each ear earn earth ease
east easy eat edge egg eight elbow end enough even ever every eye face fact fade fail fair fall fan far farm fast fat
fear fed fee feed feel feet fell fence few field fight file fill film fin find fine fire firm first fish fist fit five
fix flag flat flew floor flow fly foam fog fold folk food fool foot for force ford fork form fort found four fox free
fresh friend frog from front fruit full fun fur gain game gap gas gate gave gear get gift girl give glad glass glow
goal goat gold gone good goose got grain grand grass gray great green grew grin ground group grow guard guess guest
guide gun guy had hail hair half hall ham hand hang happen hard harm has hat have hay he head heal hear heard heart
heat heel held hell help hen her here hid hide high hill him hint hip his hit hold hole home honey hood hook hop hope
horn horse hose host hot hour house how hug huge hung hurry i ice if ill in inch ink inn into iron is it it's jam jar
jaw jet job join joke joy juice just keep kept key kick kid kill kin kind king kiss kit kite knee knew knife knit
knock know lace lack lad lake lamb land lane lap large last late laugh law lawn lay lead leaf lean learn leave led
left leg lend less let letter lick lid lie life lift light like limb lime line link lip list lit live load loan lock
log long look loose lord lore lose loss lot loud love low luck lump lunch mad made mail main make male mall man many
map march mark mars mask mass mat match mate may me meal mean meat meet mel melt men mend mess met mice might mile
milk mill mind mine mint miss mix moan mock mode mole money monk month mood moon more most moth mother mount mouse
mouth move much mud must my nail name near neat neck need nest net new next nice night nine no noise none noon nor
north nose not note now nut oak oar odd of off oil old on once one only ooze open or other ought our out oven over owe
own pace pack page paid pain paint pair pale palm pan park part pass past pat path pay pea peace peak peel pen people
per person pet pick pie piece pig pile pill pin pine pink pint pipe pit place plain plan plane plant plate play please
plum plus point pole pond pool poor pop pork port post pot pound pour power pray press price pride prince print proof
proud pull pump pure push put queen quick quite race rag rail rain raise ran rang rare rat rate raw ray reach read
real red rent rest rice rich ride right ring rip rise risk road roar rob rock rod role roll roof room root rope rose
rough round row rub rude rug rule run rush rust sad safe said sail sale salt same sand sang sat save saw say scene
school score sea seal seat see seed seek seem seen sell send sense sent set sew shade shake shall shape share sharp
she sheep sheet shelf shell shine ship shirt shoe shook shop shore short shot should show shut sick side sigh sight
sign silk sin sing sink sip sir sit six size skin skip sky sleep slid slip slow small smell smile smoke snake snow so
soap sock soft soil sold sole some son song soon sore sort soul sound soup south space spare speak spell spend spin
spoon spot spring stage stair stake stamp stand star start state steal steam steel steep step stick still sting stone
stood stop store storm story stove straw street string strong stuff such sue suit sum sun sure swim table tail take
tale talk tall tan tank tap tape task taste tea teach team tear tell ten tend tent term test than that the their them
then there these they thick thin thing think this thorn those though thought thread three threw throat through throw
thumb tie tight tile till time tin tip tire to toad toast toe told tomb ton tone too took tool tooth top tore toss
touch tour toward town toy track trade trail train trash tray tree trick trip truck true trunk trust try tub tube tune
turn twelve twin two under up us use van vein very vest view voice vote wage wait wake walk wall want war warm was
wash watch water wave wax way we weak wear web wed weed week weigh well went were west wet whale what what's wheat
wheel when where which while whip white who whole why wide wife wild will win wind wine wing wink wipe wire wise wish
wit with woke wolf woman won wood wool word wore work world worm worn would wrap wrist write wrong wrote yard yarn
year yes yet you young your zone
"""

EVERYDAY = tuple(sorted(set(_EVERYDAY.split())))
"""About a thousand words of everyday English, all in the list of pronunciations."""

# Stressless ARPAbet, the alphabet of the CMU Pronouncing Dictionary.
OWN_SOUNDS = {
    "brightside": "B R AY T S AY D",
    "buble": "B UW B L EY",
    "chainsmokers": "CH EY N S M OW K ER Z",
    "coldplay": "K OW L D P L EY",
    "doja": "D OW JH AH",
    "dua": "D UW AH",
    "eilish": "AY L IH SH",
    "encanto": "EH N K AA N T OW",
    "guetta": "G EH T AH",
    "idina": "IH D IY N AH",
    "incredibles": "IH N K R EH D AH B AH L Z",
    "laroi": "L AH R OY",
    "lorde": "L AO R D",
    "lumineers": "L UW M IH N IH R Z",
    "moana": "M OW AA N AH",
    "pharrell": "F AH R EH L",
    "pompeii": "P AA M P EY",
    "radiohead": "R EY D IY OW HH EH D",
    "riptide": "R IH P T AY D",
    "scrubs": "S K R AH B Z",
    "sia": "S IY AH",
    "skyfall": "S K AY F AO L",
    "u2": "Y UW T UW",
    "weeknd": "W IY K EH N D",
    "winehouse": "W AY N HH AW S",
    "wonderwall": "W AH N D ER W AO L",
}
"""Words of the facts that the list does not hold."""
