"""The files of a data set, without Kedro: tags, masks, splits, and checks of all of them."""
